"""Names that moved to ``dependencies``, ``idempotency``, ``etags`` and ``uploads``."""

from service.api.dependencies import DEFAULT_WORKSPACE as DEFAULT_WORKSPACE
from service.api.dependencies import Caller as Caller
from service.api.dependencies import IdempotencyKey as IdempotencyKey
from service.api.dependencies import IfMatch as IfMatch
from service.api.dependencies import Service as Service
from service.api.dependencies import Services as Services
from service.api.dependencies import WhoAsks as WhoAsks
from service.api.dependencies import WorkspaceId as WorkspaceId
from service.api.dependencies import hash_key as hash_key
from service.api.dependencies import page_limit as page_limit
from service.api.dependencies import services_of as services_of
from service.api.etags import created as created
from service.api.etags import read as read
from service.api.idempotency import idempotent as idempotent
from service.api.idempotency import request_fingerprint as request_fingerprint
from service.api.problems import item_problem as item_problem
from service.api.uploads import embed_each as embed_each

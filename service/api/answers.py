"""Names that modules outside ``shapes`` still import."""

from service.api.shapes.base import ENCODER as ENCODER
from service.api.shapes.base import TIME as TIME
from service.api.shapes.base import Answer as Answer
from service.api.shapes.base import Deleted as Deleted
from service.api.shapes.base import ImageSeen as ImageSeen
from service.api.shapes.base import Problem as Problem
from service.api.shapes.base import responses_of as says
from service.api.shapes.scan_shapes import ScanAnswer as ScanAnswer

__all__ = ["says"]

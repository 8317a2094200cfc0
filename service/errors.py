"""Every deliberate error of this package.

ServiceError
├── InputError                 the request is invalid; the caller can correct it
│   ├── UnsupportedFormat      the format is not supported
│   ├── CorruptImage           a supported format that does not decode completely
│   ├── ImageTooLarge          more pixels than the service accepts
│   ├── ClipTooLong            more frames or seconds than the service accepts
│   ├── DecodeLimit            decoding needs more memory or time than allowed
│   ├── UploadTooLarge         more bytes than the service accepts
│   ├── TooManyItems           more items in one request than the service accepts
│   ├── MalformedRequest       not a valid HTTP request
│   ├── HeadersTooLarge        address and headers are larger than the service accepts
│   ├── RequestTimeout         headers or body did not arrive in time
│   ├── HostNotAllowed         the Host header names none of the allowed hosts
│   ├── InvalidCursor          a page cursor that the service did not issue
│   ├── InvalidSettings        a SONOPROBE_* variable of the environment is wrong
│   ├── InvalidArtifact        an imported classifier is damaged or has another format
│   │   └── BrokenSignature    it was changed after it was signed
│   ├── UntrustedSignature     an imported classifier lacks a signature that is trusted
│   ├── ConflictingLabels      identical examples have different labels
│   ├── FrameRefused           the acceptance policy of the collection refuses the file
│   │   └── PolicyRefused      the policy of the workspace refuses it
│   ├── ExamplesRefused        an evaluation cannot use some of its examples
│   └── NotEnoughExamples      too few labelled examples to fit or to evaluate
├── Unauthenticated            the key is missing, unknown, expired or revoked
│   ├── InvalidToken           an access token that is forged, expired or for another service
│   └── TooManyFailedKeys      too many unknown keys from one address
├── Forbidden                  the key is known, and does not allow this
│   ├── MissingScope           the key lacks a scope that the route needs
│   ├── OriginNotAllowed       a web page of another origin opens a live stream
│   ├── OutsideLimits          the key is limited to named collections and classifiers
│   ├── UnknownWorkspace       the access token names no workspace of this service
│   └── WorkspaceSuspended     nobody may use the workspace until it is resumed
├── RateLimited                the key or the workspace sends more than its rate allows
├── UnknownItem                this workspace has no such name or id
│   └── NoThumbnail            the scan is there, and its picture was not stored
├── Conflict                   the request contradicts what is stored
│   ├── Erased                 what it has read or brings was erased meanwhile
│   ├── NameTaken              another resource has this name
│   ├── IdempotencyConflict    the Idempotency-Key was used for another request
│   ├── EncoderMismatch        belongs to another encoder than the loaded one
│   ├── NoLabelSource          the classifier has no labels of a collection to refit from
│   ├── QuotaExceeded          the key or the workspace would store more than its quota allows
│   ├── NothingChanged         the version has learnt the labels of its source already
│   ├── NotSupported           the engine of the catalog cannot do it
│   ├── ViewsMissing           there are no pixels to make views of
│   ├── WrongAccuracy          the version is asked with another accuracy
│   └── ImagesNotKept          the collection keeps no images to embed again
├── PreconditionFailed         If-Match names a version that is no longer current
├── Overloaded                 a queue is full; nothing was done
├── IdentityProviderFailure    the keys that sign access tokens cannot be fetched
├── EncoderFailure             the encoder's worker has failed
├── DecoderFailure             no decoder process starts or responds
├── TemporaryFolderFailure     the folder for temporary files is full; nothing was stored
├── PseudonymKeyMissing        the key of the workspace's pseudonyms cannot be read
├── Stopping                   the service is shutting down; nothing was done
├── WorkspaceMoving            the workspace is on its way to another database
├── Interrupted                the service stopped before an operation had finished
├── LeaseLost                  another worker has taken over the operation
├── ArtifactMismatch           the bundle is damaged or does not reproduce its golden embeddings
├── CatalogFailure             the catalog on disk cannot be read or written
│   ├── FolderInUse            another service uses the data folder
│   └── DamagedBackup          a backup differs from what was written
├── AuditFailure               the audit log cannot be read or written
│   ├── AuditFull              its disk is full
│   └── AuditDiffers           a copy of it is not its beginning
└── IndexDamaged               an index file is damaged, outdated or cannot be written

No HTTP here: ``service.api.problems`` owns the status codes. Messages give expected and
actual values and nothing of a patient: no file name, no label, no metadata.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any


class ServiceError(Exception):
    """Base class of all deliberate errors.

    Attributes:
        code: stable public name, listed in ``docs/errors.md``; by default the class name with
            underscores, such as ``corrupt_image`` of CorruptImage.
        members: further members of the problem document.
    """

    code: str = "service_error"
    members: Mapping[str, Any] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "code" not in vars(cls):
            cls.code = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()


class InputError(ServiceError):
    """The request is invalid; the caller can correct it."""

    code = "invalid_input"


class UnsupportedFormat(InputError):
    """The service does not support the format of the file."""


class CorruptImage(InputError):
    """The file has a supported format but cannot be decoded completely."""


class ImageTooLarge(InputError):
    """The image has more pixels than the service accepts."""


class ClipTooLong(InputError):
    """The clip has more frames, or is longer, than the service accepts."""


class DecodeLimit(InputError):
    """Decoding the file needs more memory or time than the service allows for one file."""


class UploadTooLarge(InputError):
    """The request body, or one part of it, is larger than the service accepts."""


class TooManyItems(InputError):
    """The request contains more items than the service accepts."""


class MalformedRequest(InputError):
    """The request is not valid HTTP, or a proxy in front may have understood it otherwise."""


class HeadersTooLarge(InputError):
    """Address and headers of the request are larger, or more, than the service accepts."""


class RequestTimeout(InputError):
    """The headers or the body of the request did not arrive in time."""


class HostNotAllowed(InputError):
    """The Host header names none of the hosts in the settings."""


class InvalidCursor(InputError):
    """The service did not issue this page cursor for this list."""


class InvalidSettings(InputError):
    """An environment variable has an invalid value; only commands raise this error."""


class InvalidArtifact(InputError):
    """An imported classifier is damaged, or has an unknown format or format version."""


class BrokenSignature(InvalidArtifact):
    """A signed classifier was changed, or its signature cannot be read."""


class UntrustedSignature(InputError):
    """Imports need a trusted signature; ``key_id`` in ``members`` names the key that signed."""

    def __init__(self, message: str, key_id: str | None = None) -> None:
        super().__init__(message)
        self.members = {"key_id": key_id}


class ConflictingLabels(InputError):
    """Identical examples have different labels; the message names the examples."""


class FrameRefused(InputError):
    """The collection refuses the file because of its burned-in risk or quality."""


class PolicyRefused(FrameRefused):
    """The policy of the workspace refuses the file or the request; ``rule`` names its rule."""

    def __init__(self, message: str, rule: str = "") -> None:
        super().__init__(message)
        self.members = {"rule": rule}


class NotEnoughExamples(InputError):
    """There are too few labelled examples to fit or to evaluate a classifier."""


class ExamplesRefused(InputError):
    """An evaluation cannot use some of its examples; ``refused`` in ``members`` lists them."""

    code = InputError.code

    def __init__(self, says: str, refused: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(says)
        self.members = {"refused": list(refused)}


class Unauthenticated(ServiceError):
    """The API key is missing, unknown, expired or revoked."""


class InvalidToken(Unauthenticated):
    """The access token is forged, expired, not yet valid, or meant for another service."""


class TooManyFailedKeys(Unauthenticated):
    """Too many unknown keys came from one address; 401 again after ``retry_after_s``."""

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Forbidden(ServiceError):
    """The API key is known, and does not allow the request."""


class MissingScope(Forbidden):
    """The API key lacks a scope that the route needs; ``scope`` in ``members`` names it."""

    def __init__(self, message: str, scope: str = "") -> None:
        super().__init__(message)
        self.members = {"scope": scope}


class OriginNotAllowed(Forbidden):
    """A browser opens a live stream for a page of an origin that is not allowed."""


class OutsideLimits(Forbidden):
    """The API key is limited to named collections and classifiers, and the request needs more."""


class WorkspaceSuspended(Forbidden):
    """The workspace is suspended: nobody may use it until an operator resumes it."""


class UnknownWorkspace(Forbidden):
    """The access token is genuine, and names no workspace of this service."""


class RateLimited(ServiceError):
    """A key or a workspace has used up a rate; ``limit`` and ``of`` in ``members`` name it.

    Attributes:
        retry_after_s: when there is enough of it again.
    """

    def __init__(self, message: str, limit: str = "", of: str = "", retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.members = {"limit": limit, "of": of}
        self.retry_after_s = retry_after_s


class UnknownItem(ServiceError):
    """This workspace has no resource with that name or id."""


class NoThumbnail(UnknownItem):
    """The collection stored no thumbnail of the scan, because names may be left in the picture."""


class Conflict(ServiceError):
    """The request contradicts what is stored."""


class Erased(Conflict):
    """What the request has read or brings was erased meanwhile."""

    code = "conflict"  # callers need not tell it from other conflicts


class NameTaken(Conflict):
    """Another resource of this workspace already has the name."""


class IdempotencyConflict(Conflict):
    """The Idempotency-Key was already used for a different request."""


class EncoderMismatch(Conflict):
    """The stored resource belongs to another encoder than the loaded one."""


class ImagesNotKept(Conflict):
    """The collection keeps no images, so its scans cannot be embedded again."""


class ViewsMissing(Conflict):
    """A version with views needs pixels of an example or scan that are not kept."""


class WrongAccuracy(Conflict):
    """The version was fitted for, and is calibrated at, another accuracy than the requested one."""


class NoLabelSource(Conflict):
    """The classifier has no collection and task whose labels could be read again."""


class NothingChanged(Conflict):
    """The version was fitted from the same labels and examples already; no version was made."""


class QuotaExceeded(Conflict):
    """A workspace or a key would store more than its quota; ``limit`` and ``of`` name it."""

    def __init__(self, message: str, limit: str = "", of: str = "workspace") -> None:
        super().__init__(message)
        self.members = {"limit": limit, "of": of}


class NotSupported(Conflict):
    """The engine of the catalog cannot do this; the message names the way that it has."""


class PreconditionFailed(ServiceError):
    """The resource has changed since the ETag in If-Match."""


class Overloaded(ServiceError):
    """A queue is full; nothing was queued or stored. Try again later."""


class IdentityProviderFailure(ServiceError):
    """The identity provider, asked again after ``retry_after_s``, does not give its keys."""

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class EncoderFailure(ServiceError):
    """The encoder's worker has failed."""


class DecoderFailure(ServiceError):
    """No decoder process starts or responds."""


class TemporaryFolderFailure(ServiceError):
    """The folder for temporary files is full or cannot be written; nothing was stored."""


class PseudonymKeyMissing(ServiceError):
    """The key of the workspace's pseudonyms is missing, damaged or another one; nothing is done."""


class Stopping(ServiceError):
    """The service is shutting down; nothing was queued or stored."""


class WorkspaceMoving(ServiceError):
    """The workspace is on its way to another database; it can be read meanwhile."""


class Interrupted(ServiceError):
    """The service stopped before the operation had finished, and the operation cannot resume."""


class LeaseLost(ServiceError):
    """Another worker has taken over the operation; only workers raise this error."""


class ArtifactMismatch(ServiceError):
    """The encoder bundle is damaged, or does not reproduce its golden embeddings."""


class CatalogFailure(ServiceError):
    """The catalog on disk cannot be read or written."""


class FolderInUse(CatalogFailure):
    """Another service uses the data folder; only commands raise this error."""


class DamagedBackup(CatalogFailure):
    """A backup differs from what was written; only commands raise this error."""


class AuditFailure(ServiceError):
    """The audit log cannot be read or written, so nothing that it must hold is answered."""


class AuditFull(AuditFailure):
    """The disk of the audit log is full."""


class AuditDiffers(AuditFailure):
    """A copy of the audit log is not its beginning; only commands and log lines say so."""


class IndexDamaged(ServiceError):
    """An index file is missing, damaged, outdated or not writable; the service rebuilds it."""

"""Every error this package raises on purpose.

ServiceError
├── InputError                 the caller can fix the request
│   ├── UnsupportedFormat      not an image format we read
│   ├── CorruptImage           claims to be an image, does not decode
│   ├── ImageTooLarge          more pixels than the service accepts
│   ├── ClipTooLong            more frames or seconds than the service accepts
│   ├── DecodeLimit            decoding would cost more memory or time than one file is given
│   ├── UploadTooLarge         more bytes than the service accepts
│   ├── TooManyItems           more items in one request than the service accepts
│   ├── InvalidCursor          a page cursor that we did not issue
│   ├── InvalidSettings        a SONOPROBE_* variable of the environment is wrong
│   ├── InvalidArtifact        an uploaded classifier that is damaged or of another format
│   ├── ConflictingLabels      equal examples that carry different labels
│   ├── FrameRefused           a collection's settings do not take such frames
│   └── NotEnoughExamples      too few labelled examples to fit or to judge
├── Unauthenticated            no key, or not one of ours
├── UnknownItem                the name or id names nothing in this workspace
├── Conflict                   the request contradicts what is stored
│   ├── NameTaken              another resource has this name
│   ├── IdempotencyConflict    the Idempotency-Key was used for another request
│   ├── EncoderMismatch        made by another encoder than the one loaded
│   └── ImagesNotKept          the collection keeps no images that could be read again
├── PreconditionFailed         If-Match names a version that is no longer current
├── Overloaded                 try again later; nothing was done
├── EncoderFailure             the encoder's worker fails or is gone
├── DecoderFailure             no decoder process starts or answers
├── Stopping                   the service is shutting down; nothing was done
├── Interrupted                the service stopped before long work was done
├── ArtifactMismatch           a bundle that is damaged or does not give its golden embeddings
├── CatalogFailure             the catalog on disk cannot be read or written
│   ├── FolderInUse            another service holds the data folder
│   └── DamagedBackup          a backup that is not what was written
└── IndexDamaged               an index file that is damaged, stale or cannot be written

No HTTP here: ``service.api.problems`` owns the status codes. Messages give expected and
actual values and nothing of a patient: no file name, no label, no metadata.
"""


class ServiceError(Exception):
    """Base of all errors raised on purpose; ``code`` is the stable public name."""

    code: str = "service_error"


class InputError(ServiceError):
    """The caller can fix the request."""

    code = "invalid_input"


class UnsupportedFormat(InputError):
    """The bytes are not an image format that this service reads."""

    code = "unsupported_format"


class CorruptImage(InputError):
    """The bytes look like a supported format and do not decode completely."""

    code = "corrupt_image"


class ImageTooLarge(InputError):
    """The image declares more pixels than the service accepts."""

    code = "image_too_large"


class ClipTooLong(InputError):
    """The clip holds more frames, or lasts longer, than the service accepts."""

    code = "clip_too_long"


class DecodeLimit(InputError):
    """Decoding the file would take more memory or time than the service gives to one file."""

    code = "decode_limit"


class UploadTooLarge(InputError):
    """The body, or one part of it, is longer than the service accepts."""

    code = "upload_too_large"


class TooManyItems(InputError):
    """One request carries more items than the service accepts."""

    code = "too_many_items"


class InvalidCursor(InputError):
    """The page cursor was not issued by this service for this list."""

    code = "invalid_cursor"


class InvalidSettings(InputError):
    """A setting in the environment is wrong; raised by commands, never by a request."""

    code = "invalid_settings"


class InvalidArtifact(InputError):
    """An uploaded classifier is damaged, or of another format or format version."""

    code = "invalid_artifact"


class ConflictingLabels(InputError):
    """Equal examples carry different labels; the message names them."""

    code = "conflicting_labels"


class FrameRefused(InputError):
    """The collection refuses frames of this burned-in risk or quality."""

    code = "frame_refused"


class NotEnoughExamples(InputError):
    """Too few labelled examples to fit a classifier."""

    code = "not_enough_examples"


class Unauthenticated(ServiceError):
    """No API key was sent, or it is unknown or revoked."""

    code = "unauthenticated"


class UnknownItem(ServiceError):
    """The name or id names nothing in this workspace."""

    code = "unknown_item"


class Conflict(ServiceError):
    """The request contradicts what is stored."""

    code = "conflict"


class NameTaken(Conflict):
    """Another resource of this workspace has the name."""

    code = "name_taken"


class IdempotencyConflict(Conflict):
    """The Idempotency-Key was already used for a different request."""

    code = "idempotency_conflict"


class EncoderMismatch(Conflict):
    """The stored resource was made by another encoder than the one that is loaded."""

    code = "encoder_mismatch"


class ImagesNotKept(Conflict):
    """The collection kept no images, so that no other encoder can read them again."""

    code = "images_not_kept"


class PreconditionFailed(ServiceError):
    """The resource changed since the ETag sent in If-Match."""

    code = "precondition_failed"


class Overloaded(ServiceError):
    """The queue is full; nothing was queued or stored."""

    code = "overloaded"


class EncoderFailure(ServiceError):
    """The encoder's worker fails on a plain frame, or is gone."""

    code = "encoder_failure"


class DecoderFailure(ServiceError):
    """No decoder process starts or answers."""

    code = "decoder_failure"


class Stopping(ServiceError):
    """The service is shutting down; nothing was queued or stored."""

    code = "stopping"


class Interrupted(ServiceError):
    """The service stopped before an operation was done, and it cannot go on; ask again."""

    code = "interrupted"


class ArtifactMismatch(ServiceError):
    """An encoder bundle is damaged, or does not compute its golden embeddings."""

    code = "artifact_mismatch"


class CatalogFailure(ServiceError):
    """The catalog on disk cannot be read or written."""

    code = "catalog_failure"


class FolderInUse(CatalogFailure):
    """Another service holds the data folder; raised by commands, never by a request."""

    code = "folder_in_use"


class DamagedBackup(CatalogFailure):
    """A backup is not what was written; raised by commands, never by a request."""

    code = "damaged_backup"


class IndexDamaged(ServiceError):
    """An index file is missing, damaged or stale, or the disk refuses one; it is made again."""

    code = "index_damaged"

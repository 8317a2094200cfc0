"""What a decoder process and its parent say to each other: JSON with raw bytes behind it.

No pickle: whatever a hostile file makes of the child, it can only send text and pixels.
"""

import json
import socket
import struct
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from service import errors
from service.imaging.formats.frames import DecodedFrame, Device, DicomRegion, ImageInfo

_HEAD = struct.Struct("<IQ")  # length of the JSON, length of the raw bytes
_MAX_JSON = 1_000_000
_KNOWN = {
    kind.code: kind
    for kind in (
        errors.UnsupportedFormat,
        errors.CorruptImage,
        errors.ImageTooLarge,
        errors.ClipTooLong,
        errors.DecodeLimit,
        errors.InputError,
    )
}


class ConnectionBroken(Exception):
    """The other side is gone, or does not keep to the protocol."""


def send(link: socket.socket, said: Mapping[str, Any], raw: bytes | memoryview = b"") -> None:
    """Raises OSError (TimeoutError too) when the other side does not take it."""
    text = json.dumps(said, separators=(",", ":")).encode()
    size = raw.nbytes if isinstance(raw, memoryview) else len(raw)
    link.sendall(_HEAD.pack(len(text), size) + text)
    if size:
        link.sendall(raw)


def receive(link: socket.socket, *, max_raw: int) -> tuple[dict[str, Any], bytearray]:
    """The next message. Raises ConnectionBroken, TimeoutError."""
    text_bytes, raw_bytes = _HEAD.unpack(_exactly(link, _HEAD.size))
    if text_bytes > _MAX_JSON or raw_bytes > max_raw:
        raise ConnectionBroken("a message of the decoder is longer than allowed")
    try:
        said = json.loads(_exactly(link, text_bytes))
    except ValueError as error:
        raise ConnectionBroken("a message of the decoder does not parse") from error
    if not isinstance(said, dict):
        raise ConnectionBroken("a message of the decoder is no object")
    return said, _exactly(link, raw_bytes)


def _exactly(link: socket.socket, length: int) -> bytearray:
    data = bytearray(length)
    view = memoryview(data)
    at = 0
    while at < length:
        try:
            got = link.recv_into(view[at:])
        except TimeoutError:
            raise
        except OSError as error:
            raise ConnectionBroken("the decoder hung up") from error
        if got == 0:
            raise ConnectionBroken("the decoder hung up")
        at += got
    return data


def image_info_message(info: ImageInfo) -> dict[str, Any]:
    """As JSON."""
    return {"info": asdict(info)}


def image_info_from(said: Mapping[str, Any]) -> ImageInfo:
    """From JSON. Raises ConnectionBroken."""
    try:
        fields = dict(said["info"])
        fields["regions"] = tuple(DicomRegion(**region) for region in fields["regions"])
        fields["device"] = Device(**fields["device"])
        spacing = fields["spacing_mm"]
        fields["spacing_mm"] = None if spacing is None else (spacing[0], spacing[1])
        return ImageInfo(**fields)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ConnectionBroken("the decoder's facts do not parse") from error


def frame_message(frame: DecodedFrame) -> dict[str, Any]:
    """As JSON, without the pixels, which follow as raw bytes."""
    return {"shape": list(frame.pixels.shape), "index": frame.index, "time_s": frame.time_s}


def frame_from(said: Mapping[str, Any], raw: bytearray) -> DecodedFrame:
    """From JSON and pixels. Raises ConnectionBroken."""
    try:
        pixels = np.frombuffer(raw, np.uint8).reshape([int(n) for n in said["shape"]])
        time_s = said["time_s"]
        if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
            raise ValueError
        return DecodedFrame(pixels, int(said["index"]), None if time_s is None else float(time_s))
    except (KeyError, TypeError, ValueError) as error:
        raise ConnectionBroken("a frame of the decoder does not parse") from error


def error_message(error: errors.ServiceError) -> dict[str, Any]:
    """As JSON."""
    return {"error": error.code, "message": str(error)}


def error_from(said: Mapping[str, Any]) -> errors.ServiceError:
    """From JSON; an unknown code becomes CorruptImage."""
    kind = _KNOWN.get(str(said.get("error")), errors.CorruptImage)
    return kind(str(said.get("message", ""))[:500])

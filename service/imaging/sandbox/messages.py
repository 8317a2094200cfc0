"""The messages between a decoder process and its parent: JSON, followed by raw bytes.

There is no pickle: a decoder that a hostile file has taken over can send only text and pixels.
"""

import json
import socket
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from service import errors
from service.imaging.formats.frames import DecodedFrame, ImageInfo

_HEAD = struct.Struct("<IQ")  # length of the JSON, length of the raw bytes
_MAX_JSON = 1_000_000
_ERRORS = {
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
    """The other side is gone or breaks the protocol."""


def send(link: socket.socket, message: Mapping[str, Any], raw: bytes | memoryview = b"") -> None:
    """Raises OSError (TimeoutError too): the other side does not accept the message."""
    text = json.dumps(message, separators=(",", ":")).encode()
    size = memoryview(raw).nbytes
    link.sendall(_HEAD.pack(len(text), size) + text)
    if size:
        link.sendall(raw)


def receive(link: socket.socket, *, max_raw: int) -> tuple[dict[str, Any], bytearray]:
    """The next message. Raises ConnectionBroken, TimeoutError."""
    text_bytes, raw_bytes = _HEAD.unpack(_exactly(link, _HEAD.size))
    if text_bytes > _MAX_JSON or raw_bytes > max_raw:
        raise ConnectionBroken("a message of the decoder is longer than allowed")
    try:
        message = json.loads(_exactly(link, text_bytes))
    except ValueError as error:
        raise ConnectionBroken("a message of the decoder does not parse") from error
    if not isinstance(message, dict):
        raise ConnectionBroken("a message of the decoder is not an object")
    return message, _exactly(link, raw_bytes)


def _exactly(link: socket.socket, length: int) -> bytearray:
    data = bytearray(length)
    view = memoryview(data)
    at = 0
    while at < length:
        try:
            count = link.recv_into(view[at:])
        except TimeoutError:
            raise
        except OSError as error:
            raise ConnectionBroken("the decoder hung up") from error
        if count == 0:
            raise ConnectionBroken("the decoder hung up")
        at += count
    return data


def frame_message(frame: DecodedFrame) -> dict[str, Any]:
    """The frame as JSON, without its pixels, which follow as raw bytes."""
    return {"shape": list(frame.pixels.shape), "index": frame.index, "time_s": frame.time_s}


def result_from(message: Mapping[str, Any], raw: bytearray) -> ImageInfo | DecodedFrame:
    """The image info or the frame of a message. Raises ConnectionBroken."""
    try:
        if "info" in message:
            return ImageInfo.from_json(message["info"])
        pixels = np.frombuffer(raw, np.uint8).reshape([int(n) for n in message["shape"]])
        time_s = None if message["time_s"] is None else float(message["time_s"])
        if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
            raise ValueError
        return DecodedFrame(pixels, int(message["index"]), time_s)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ConnectionBroken("a result of the decoder does not parse") from error


def confined_from(message: Mapping[str, Any]) -> dict[str, bool]:
    """The report of ``confinement.confine``. Raises ConnectionBroken."""
    report = message.get("confined")
    if not isinstance(report, dict):
        raise ConnectionBroken("a report of the decoder does not parse")
    return {str(name): bool(holds) for name, holds in report.items()}


def error_from(message: Mapping[str, Any]) -> errors.ServiceError:
    """From JSON; an unknown code becomes CorruptImage."""
    kind = _ERRORS.get(str(message.get("error")), errors.CorruptImage)
    return kind(str(message.get("message", ""))[:500])

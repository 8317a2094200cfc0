"""The program of a decoder process: receives files from its parent and returns frames.

``decoder_pool`` starts it as ``python -m service.imaging.sandbox.decoder_process FD``. Before the
first file it gives up what it does not need; see ``confinement``.
"""

import math
import os
import resource
import socket
import sys
from dataclasses import asdict

import numpy as np

from service.errors import DecodeLimit, ServiceError
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.reader import read
from service.imaging.formats.sampling import parse_sampling
from service.imaging.sandbox import messages
from service.imaging.sandbox.confinement import confine


def main(link: socket.socket) -> None:
    """Decode files until the parent hangs up or the memory runs out."""
    messages.send(link, {"ready": os.getpid()})
    try:
        message, _ = messages.receive(link, max_raw=0)
        messages.send(link, {"confined": confine(int(message["max_bytes"]))})
        while True:
            message, data = messages.receive(link, max_raw=2**40)
            limits = DecodeLimits(**message["limits"])
            _allow_seconds(limits.max_decode_s)
            if not _answer(link, bytes(data), str(message["sampling"]), limits):
                return
    except messages.ConnectionBroken:
        return


def _answer(link: socket.socket, data: bytes, sampling: str, limits: DecodeLimits) -> bool:
    """Send the frames of one file; return False when the process must not be used again."""
    try:
        image = read(data, parse_sampling(sampling), limits)
        messages.send(link, {"info": asdict(image.info)})
        for frame in image.frames:
            pixels = np.ascontiguousarray(frame.pixels)
            messages.send(link, messages.frame_message(frame), pixels.data.cast("B"))
        messages.send(link, {"end": True})
    except ServiceError as error:
        messages.send(link, {"error": error.code, "message": str(error)})
    except MemoryError:
        text = "decoding takes more memory than allowed for one file"
        messages.send(link, {"error": DecodeLimit.code, "message": text, "leaves": True})
        return False
    return True


def _allow_seconds(seconds: float) -> None:
    """Let the system end the process when one file takes more processor time than this."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = math.ceil(used.ru_utime + used.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


def _silence() -> None:
    """Close the terminal: libraries quote damaged files in their messages."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for handle in (0, 1, 2):
        os.dup2(nowhere, handle)
    os.close(nowhere)


if __name__ == "__main__":
    _silence()
    main(socket.socket(fileno=int(sys.argv[1])))

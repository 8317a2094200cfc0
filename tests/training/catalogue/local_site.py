"""A server on this machine that honours Range, and misbehaves on request as real ones do."""

import re
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler


@dataclass
class Site:
    """What the server serves, and how.

    Attributes:
        address: ``http://127.0.0.1:port``.
        files: bytes by path.
        cut_after: close the connection after so many bytes of the next answers, first to last.
        ranges: whether the server honours Range.
        tag: the ETag of every file; If-Range is held against it.
        asked: the Range header of every request, in order, empty for a whole file.
    """

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    cut_after: list[int] = field(default_factory=list)
    ranges: bool = True
    tag: str = '"1"'
    asked: list[str] = field(default_factory=list)


class SiteHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        site = self.site
        data = site.files.get(self.path)
        wanted = self.headers.get("Range", "")
        site.asked.append(wanted)
        if data is None:
            self.send_error(404)
            return
        match = re.fullmatch(r"bytes=(\d+)-", wanted)
        fits = self.headers.get("If-Range", site.tag) == site.tag
        start = int(match[1]) if match and site.ranges and fits else 0
        if start >= len(data) > 0:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("ETag", site.tag)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        body = data[start:]
        if site.cut_after:
            body = body[: site.cut_after.pop(0)]
            self.close_connection = True
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

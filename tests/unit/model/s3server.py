"""A small S3: listing, HEAD and ranged GET as AWS answers them, and the faults that a network has."""

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

PAGE = 3  # objects in a page of a listing, so that small tests have several


@dataclass
class StoredObject:
    body: bytes
    part_size: int = 0
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def etag(self) -> str:
        if "etag" in self.headers:
            return self.headers["etag"]
        if not self.part_size:
            return hashlib.md5(self.body).hexdigest()
        size = self.part_size
        starts = range(0, len(self.body), size)
        parts = [hashlib.md5(self.body[start : start + size]).digest() for start in starts]
        return f"{hashlib.md5(b''.join(parts)).hexdigest()}-{len(parts)}"


# What a fault does with a GET: the bytes to send of those asked for. Fewer cut the connection.
Fault = Callable[[str, int, bytes], bytes]


class S3Server:
    """`faults` are asked in turn for each GET; `reads` notes every (key, first byte, last byte)."""

    def __init__(self) -> None:
        self.bucket = "weights"
        self.objects: dict[str, StoredObject] = {}
        self.reads: list[tuple[str, int, int]] = []
        self.fault: Fault | None = None
        self.forbidden = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def put(self, key: str, body: bytes, *, part_size: int = 0, **headers: str) -> None:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        self.objects[key] = StoredObject(body, part_size, names)

    def bytes_read(self) -> int:
        return sum(last - first + 1 for _, first, last in self.reads)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        store = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                store._answer(self)

            do_HEAD = do_GET

        return Handler

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        url = urlsplit(request.path)
        bucket, _, key = unquote(url.path).lstrip("/").partition("/")
        query = parse_qs(url.query)
        stored = self.objects.get(key)
        wanted = request.headers.get("If-Match", "").strip('"')
        if self.forbidden:
            _error(request, 403, "AccessDenied")
        elif bucket != self.bucket:
            _error(request, 404, "NoSuchBucket")
        elif not key:
            self._list(request, query)
        elif stored is None:
            _error(request, 404, "NoSuchKey")
        elif wanted and wanted != stored.etag:
            _error(request, 412, "PreconditionFailed")
        elif request.command == "HEAD":
            self._head(request, stored, "partNumber" in query)
        else:
            self._get(request, key, stored)

    def _list(self, request: BaseHTTPRequestHandler, query: dict[str, list[str]]) -> None:
        prefix = query.get("prefix", [""])[0]
        after = query.get("continuation-token", [""])[0]
        keys = sorted(key for key in self.objects if key.startswith(prefix) and key > after)
        items = "".join(
            f"<Contents><Key>{escape(key)}</Key><ETag>&quot;{self.objects[key].etag}&quot;</ETag>"
            f"<Size>{len(self.objects[key].body)}</Size></Contents>"
            for key in keys[:PAGE]
        )
        more = len(keys) > PAGE
        token = f"<NextContinuationToken>{escape(keys[PAGE - 1])}</NextContinuationToken>" if more else ""
        truncated = f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}"
        body = f"<ListBucketResult>{truncated}{items}</ListBucketResult>"
        _send(request, 200, body.encode(), {"Content-Type": "application/xml"})

    def _head(self, request: BaseHTTPRequestHandler, stored: StoredObject, of_part: bool) -> None:
        size = min(stored.part_size or len(stored.body), len(stored.body)) if of_part else len(stored.body)
        headers = {"ETag": f'"{stored.etag}"', "Content-Length": str(size), **stored.headers}
        headers.pop("etag", None)
        request.send_response(206 if of_part else 200)
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()

    def _get(self, request: BaseHTTPRequestHandler, key: str, stored: StoredObject) -> None:
        first, last = (int(part) for part in request.headers["Range"].removeprefix("bytes=").split("-"))
        wanted = stored.body[first : last + 1]
        self.reads.append((key, first, last))
        sent = self.fault(key, first, wanted) if self.fault else wanted
        headers = {"ETag": f'"{stored.etag}"', "Content-Range": f"bytes {first}-{last}/{len(stored.body)}"}
        _send(request, 206, sent, headers, length=len(wanted))
        if len(sent) < len(wanted):
            request.close_connection = True


def _send(
    request: BaseHTTPRequestHandler,
    status: int,
    body: bytes,
    headers: dict[str, str],
    length: int | None = None,
) -> None:
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.send_header("Content-Length", str(len(body) if length is None else length))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)


def _error(request: BaseHTTPRequestHandler, status: int, code: str) -> None:
    body = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
    _send(request, status, body, {"Content-Type": "application/xml"})

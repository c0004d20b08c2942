"""An S3 server on this machine, moto's, behind a proxy that injects faults on demand.

with S3Server() as s3:
    s3.put_folder("robots/aloha", folder)
    s3.fail("GET", r"\\.mp4$", status=503, code="SlowDown", times=2)
    s3.cut("GET", r"\\.mp4$", after=1000)
"""

import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event
from types import MappingProxyType
from typing import Literal
from urllib.parse import quote, unquote, urlsplit

from support.hub_repository import files_below

KEY, SECRET = "TestKeyIdThatMustNotLeak", "TestSecretThatMustNotLeak"
SECRETS = (KEY, SECRET)
HOP_BY_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length", "date", "server")
MAX_HOLD_SECONDS = 300.0
ERROR = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>{secrets} is what you sent</Message></Error>"


@dataclass
class Fault:
    """What befalls the next requests whose method and path fit.

    kind: the answer is an error; is cut off after some bytes of its body; comes slowly; or has other bytes. A fault of
    kind "lost" lets the request do its work, and then answers with an error. hold: waits.
    """

    method: str
    path: str
    kind: Literal["error", "cut", "slow", "corrupt", "lost", "hold"]
    times: int
    status: int = 500
    code: str = "InternalError"
    after: int = 0
    seconds: float = 0.0
    arrived: Event | None = None
    released: Event | None = None


@dataclass(frozen=True)
class S3Request:
    """A request that came: path without a query, as /bucket/key."""

    method: str
    path: str
    query: str
    range: str | None


class S3Server(ThreadingHTTPServer):
    """The proxy, which clients ask; moto's server stands behind it."""

    daemon_threads = True

    def __init__(self) -> None:
        from moto.server import ThreadedMotoServer

        super().__init__(("127.0.0.1", 0), _Handler)
        self.moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self.moto.start()
        self.backend = self.moto.get_host_and_port()
        self.faults: list[Fault] = []
        self.requests: list[S3Request] = []
        self.lock = threading.RLock()

    @property
    def url(self) -> str:
        """For AWS_ENDPOINT_URL."""
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables of a process that may use it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }

    def add_bucket(self, bucket: str) -> None:
        """Make a bucket, past the proxy."""
        self._ask("PUT", f"/{bucket}")

    def put(self, path: str, content: bytes, *, is_public: bool = False) -> None:
        """Put an object, named bucket/key, past the proxy; makes its bucket."""
        self.add_bucket(path.partition("/")[0])
        self._ask("PUT", f"/{path}", content, headers={"x-amz-acl": "public-read"} if is_public else {})

    def put_folder(self, path: str, folder: Path) -> str:
        """Put a folder's files below bucket/prefix, past the proxy; returns its address."""
        self.add_bucket(path.partition("/")[0])
        for name, content in files_below(folder).items():
            self._ask("PUT", f"/{path}/{name}", content)
        return f"s3://{path}"

    def get(self, path: str) -> bytes:
        """An object's content, past the proxy."""
        return self._ask("GET", f"/{path}")

    def delete(self, path: str) -> None:
        """Delete an object, past the proxy."""
        self._ask("DELETE", f"/{path}")

    def buckets(self) -> list[str]:
        """Names of the buckets."""
        return re.findall(r"<Name>(.*?)</Name>", self._ask("GET", "/").decode())

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """Names of the objects below a prefix, at most 1000, past the proxy."""
        listed = self._ask("GET", f"/{bucket}", query=f"list-type=2&prefix={quote(prefix)}").decode()
        return re.findall(r"<Key>(.*?)</Key>", listed)

    def fail(self, method: str, path: str, *, status: int, code: str = "InternalError", times: int = 1) -> Fault:
        """Answer with an error, whose message repeats the credentials."""
        return self._add(Fault(method, path, "error", times, status=status, code=code))

    def lose(self, method: str, path: str, *, status: int = 500, times: int = 1) -> Fault:
        """Do what is asked, and answer with an error."""
        return self._add(Fault(method, path, "lost", times, status=status))

    def cut(self, method: str, path: str, *, after: int = 0, times: int = 1) -> Fault:
        """Cut the connection after so many bytes of the answer's body."""
        return self._add(Fault(method, path, "cut", times, after=after))

    def slow(self, method: str, path: str, *, seconds: float, times: int = 1) -> Fault:
        """Send the answer's body in ten pieces, with so many seconds before each."""
        return self._add(Fault(method, path, "slow", times, seconds=seconds))

    def corrupt(self, method: str, path: str, *, times: int = 1) -> Fault:
        """Change a byte of the answer's body, another each time."""
        return self._add(Fault(method, path, "corrupt", times))

    def hold(self, method: str, path: str) -> Fault:
        """Let requests wait: `arrived` is set when one comes, set `released` to let it go on."""
        return self._add(Fault(method, path, "hold", 1 << 30, arrived=Event(), released=Event()))

    def paths(self, method: str, part: str = "") -> list[str]:
        """Paths that were asked for."""
        return [request.path for request in self.requests if request.method == method and part in request.path]

    def forget(self) -> None:
        """Forget faults and requests."""
        self.faults.clear()
        self.requests.clear()

    def _add(self, fault: Fault) -> Fault:
        self.faults.append(fault)
        return fault

    def next_fault(self, method: str, path: str) -> Fault | None:
        """The fault that befalls a request."""
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.method == method and re.search(fault.path, path):
                    fault.times -= 1
                    return fault
        return None

    def _ask(
        self,
        method: str,
        path: str,
        content: bytes = b"",
        *,
        query: str = "",
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> bytes:
        signed = f"AWS4-HMAC-SHA256 Credential={KEY}/20260101/us-east-1/s3/aws4_request"
        target = quote(path) + (f"?{query}" if query else "")
        status, _, answer = self.forward(method, target, {"Authorization": signed, **headers}, content)
        assert status < 400, f"{method} {path}: {status} {answer!r}"
        return answer

    def forward(
        self, method: str, target: str, headers: Mapping[str, str], content: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Ask moto's server: status, headers and body of its answer."""
        connection = HTTPConnection(*self.backend)
        try:
            connection.request(method, target, body=content, headers=dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def __enter__(self) -> "S3Server":
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
        self.moto.stop()

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that are killed hang up; that is no news."""


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    server: S3Server

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = urlsplit(self.path)
        path = unquote(url.path)
        self.server.requests.append(S3Request(self.command, path, url.query, self.headers.get("Range")))
        fault = self.server.next_fault(self.command, path)
        if fault is not None and fault.kind == "hold":
            _wait(fault)
            fault = None
        if fault is not None and fault.kind == "error":
            self._send(fault.status, [("Content-Type", "application/xml")], _error(fault))
            return
        status, headers, content = self.server.forward(self.command, self.path, dict(self.headers), body)
        if fault is not None and fault.kind == "lost":
            status, headers, content = fault.status, [], _error(fault)
        self._send(status, headers, content, fault)

    def _send(self, status: int, headers: list[tuple[str, str]], content: bytes, fault: Fault | None = None) -> None:
        length = next((value for name, value in headers if name.lower() == "content-length"), "")
        if self.command != "HEAD" or not length:
            length = str(len(content))
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            _WRITERS[fault.kind if fault else "whole"](self, content, fault)


def _wait(fault: Fault) -> None:
    assert fault.arrived is not None
    assert fault.released is not None
    fault.arrived.set()
    assert fault.released.wait(timeout=MAX_HOLD_SECONDS), f"{fault.path} was never released"


def _error(fault: Fault) -> bytes:
    return ERROR.format(code=fault.code, secrets=" and ".join(SECRETS)).encode()


def _write_whole(handler: _Handler, content: bytes, fault: Fault | None) -> None:
    handler.wfile.write(content)


def _write_cut(handler: _Handler, content: bytes, fault: Fault | None) -> None:
    assert fault is not None
    handler.wfile.write(content[: min(fault.after, len(content) - 1)])
    handler.close_connection = True


def _write_slowly(handler: _Handler, content: bytes, fault: Fault | None) -> None:
    assert fault is not None
    size = -(-len(content) // 10) or 1
    for start in range(0, len(content), size):
        time.sleep(fault.seconds)
        handler.wfile.write(content[start : start + size])


def _write_corrupted(handler: _Handler, content: bytes, fault: Fault | None) -> None:
    assert fault is not None
    place = (fault.times * 7919 + 13) % len(content)
    handler.wfile.write(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])


_WRITERS: dict[str, Callable[[_Handler, bytes, Fault | None], None]] = {
    "whole": _write_whole,
    "lost": _write_whole,
    "cut": _write_cut,
    "slow": _write_slowly,
    "corrupt": _write_corrupted,
}

"""An S3 server on loopback behind a proxy that fails when told to: real HTTP, real faults."""

from __future__ import annotations

import gc
import http.client
import logging
import os
import socket
import struct
import threading
import time
import warnings
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import TYPE_CHECKING, Literal

from fsspec.config import conf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

Fault = Literal["500", "503", "403", "expired", "reset", "cut", "lost", "slow"]
"""InternalError; SlowDown; AccessDenied; ExpiredToken; the connection reset before an answer; an
answer cut in its body; a request that is done, but the connection is reset in place of the answer;
an answer that comes a second late."""

_ANSWERS = {
    "500": (b"InternalError", b"We encountered an internal error. Please try again."),
    "503": (b"SlowDown", b"Please reduce your request rate."),
    "403": (b"AccessDenied", b"Access Denied"),
    "expired": (b"ExpiredToken", b"The provided token has expired."),
}
_SLOW_S = 1.0
_HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive"}


def settings_for_faults(environment: pytest.MonkeyPatch, *, attempts: int) -> None:
    """Forget this machine's AWS settings; wait in the same steps, a hundred times shorter."""
    import botocore.retryhandler

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        environment.delenv(name)
    environment.setattr(botocore.retryhandler, "random", SimpleNamespace(random=lambda: 0.01))
    retries = {"mode": "legacy", "total_max_attempts": attempts}
    environment.setitem(conf, "s3", {"config_kwargs": {"retries": retries}})


class FlakyProxy:
    """Passes requests on to `server`, or answers them with the fault of the moment."""

    def __init__(self, server: tuple[str, int]) -> None:
        self.server = server
        self.faults = 0
        self.log: list[tuple[str, str]] = []
        """Method and path of every request that reached the server."""
        self._hit: Callable[[str, str], Fault | None] = lambda *_: None
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @contextmanager
    def failing(
        self,
        *faults: Fault,
        times: int | None = None,
        every: int = 1,
        method: str = "",
        path: str = "",
    ) -> Iterator[None]:
        """Within the block, fail `every` n-th request, at most `times` of them, by turns."""
        left, seen = [1 << 30 if times is None else times], [0]

        def hit(verb: str, where: str) -> Fault | None:
            if verb[: len(method)] != method or path not in where:
                return None
            seen[0] += 1
            if seen[0] % every or not left[0]:
                return None
            left[0] -= 1
            return faults[(seen[0] // every) % len(faults)]

        self._hit, self.faults = hit, 0
        try:
            yield
        finally:
            self._hit = lambda *_: None

    def fault_for(self, method: str, path: str) -> Fault | None:
        with self._lock:
            found = self._hit(method, path)
            self.faults += found is not None
            if found in (None, "cut", "lost", "slow"):
                self.log.append((method, path.partition("?")[0]))
            return found


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FlakyProxy

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, BrokenPipeError):
            self.close_connection = True

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.proxy.fault_for(self.command, self.path)
        if fault == "reset":
            self._reset()
        elif fault in _ANSWERS:
            code, text = _ANSWERS[fault]
            error = b"<Error><Code>%s</Code><Message>%s</Message></Error>" % (code, text)
            status = 400 if fault == "expired" else int(fault)
            self._answer(status, [("Content-Type", "application/xml")], error)
        else:
            time.sleep(_SLOW_S if fault == "slow" else 0)
            answer = self._passed_on(body)
            if fault == "lost":
                self._reset()
            else:
                self._answer(*answer, is_cut=fault == "cut")

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve

    def _passed_on(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        upstream = http.client.HTTPConnection(*self.proxy.server, timeout=60)
        try:
            upstream.request(self.command, self.path, body, dict(self.headers))
            answer = upstream.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            upstream.close()

    def _answer(
        self, status: int, headers: list[tuple[str, str]], body: bytes, *, is_cut: bool = False
    ) -> None:
        self.send_response_only(status)
        is_head = self.command == "HEAD"
        for name, value in headers:
            is_length = name.lower() == "content-length"
            if name.lower() not in _HOP_BY_HOP and (is_head or not is_length):
                self.send_header(name, value)
        if not is_head:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if is_head:
            return
        self.wfile.write(body[: len(body) // 2] if is_cut else body)
        if is_cut and body:
            self._reset()

    def _reset(self) -> None:
        """Close so that the other side sees a reset, not an end."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def finish(self) -> None:
        with suppress(OSError, ValueError):
            super().finish()

    def log_message(self, *_args: object) -> None:
        pass


def forget_connections() -> None:
    """Let the next access to S3 connect anew; closing what is open without a warning."""
    from s3fs import S3FileSystem

    with warnings.catch_warnings():  # zarr's sessions are closed by garbage collection, which warns
        warnings.simplefilter("ignore", ResourceWarning)
        S3FileSystem.clear_instance_cache()
        gc.collect()
    gc.freeze()  # moto and botocore are large: later collections leave them out


@contextmanager
def s3_behind_proxy(environment) -> Iterator[FlakyProxy]:
    """Start a server with the bucket ``bucket`` and a proxy, and lead every S3 client there.

    `environment` is a MonkeyPatch. No setting, profile or cache of whoever runs the tests is used:
    nothing can reach a real bucket.
    """
    from moto.server import ThreadedMotoServer

    from atlasstore.files import urls

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else a line for each request
    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    proxy = FlakyProxy(server.get_host_and_port())
    for name, value in {
        "AWS_CONFIG_FILE": "/nonexistent/config",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent/credentials",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": proxy.url,
        "NO_PROXY": "127.0.0.1",
    }.items():
        environment.setenv(name, value)
    forget_connections()  # one made earlier would keep the endpoint of its making
    fs, bucket = urls.filesystem("s3://bucket")
    fs.mkdir(bucket)
    yield proxy
    fs.rm(bucket, recursive=True)  # servers of one process share what they hold
    forget_connections()
    proxy.stop()
    server.stop()

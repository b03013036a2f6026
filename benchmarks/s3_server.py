"""An S3 server on this machine, over HTTP, that counts what is written to it.

moto behind one piece of middleware, in a process of its own; it shares the machine's cores with
what is measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.request import urlopen

if TYPE_CHECKING:
    from collections.abc import Iterator

BUCKET = "bench"


@contextmanager
def s3_server() -> Iterator[str]:
    """Serve an empty bucket; yields the server's address, which the environment then names."""
    command = [sys.executable, __file__]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    address = f"http://127.0.0.1:{server.stdout.readline().strip()}"
    os.environ |= {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    try:
        import fsspec

        fsspec.filesystem("s3").mkdir(BUCKET)
        yield address
    finally:
        server.kill()
        server.wait()


def puts(address: str) -> list[tuple[str, int]]:
    """Return (path, bytes) of every object put so far."""
    with urlopen(f"{address}/-puts") as answer:
        return [(path, size) for path, size in json.load(answer)]


def serve() -> None:
    """Serve until standard input ends."""
    import logging

    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    backend, written = DomainDispatcherApplication(create_backend_app), []

    def counted(environ, start_response):
        if environ["PATH_INFO"] == "/-puts":
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(written).encode()]
        if environ["REQUEST_METHOD"] == "PUT":
            size = environ.get("HTTP_X_AMZ_DECODED_CONTENT_LENGTH") or environ["CONTENT_LENGTH"]
            written.append((environ["PATH_INFO"], int(size or 0)))
        return backend(environ, start_response)

    server = make_server("127.0.0.1", 0, counted, threaded=True)
    print(server.port, flush=True)
    import threading

    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    serve()

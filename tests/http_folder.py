"""A web server for a folder; by default it lists nothing, as a bucket that is open to the public.

It knows no ranges: whoever asks for a part gets the whole file.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Handler(SimpleHTTPRequestHandler):
    """Answers with `absent` where there is no file, and with 403 without the signature."""

    absent = 404
    signature = ""
    lists = False

    def send_head(self):  # type: ignore[no-untyped-def]
        query = self.path.partition("?")[2]
        if self.signature and f"X-Amz-Signature={self.signature}" not in query:
            return self.send_error(403)
        path = self.translate_path(self.path)
        if not (Path(path).is_file() or self.lists):
            return self.send_error(self.absent)
        return super().send_head()

    def log_message(self, *_args: object) -> None:
        pass


@contextmanager
def served(
    folder: Path, *, absent: int = 404, signature: str = "", lists: bool = False
) -> Iterator[str]:
    """Yield the URL of a folder; with a signature, files are had with it in the query alone."""
    values = {"absent": absent, "signature": signature, "lists": lists}
    handler = partial(type("Handler", (_Handler,), values), directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()

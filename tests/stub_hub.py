"""As much of Hugging Face's hub, over HTTP on loopback, as pushing and pulling a model needs."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "hf_testing"


class Hub:
    """Repositories: name -> revision -> path -> content; branches name commits."""

    def __init__(self) -> None:
        self.commits: dict[str, dict[str, dict[str, bytes]]] = {}
        self.branches: dict[str, dict[str, str]] = {}
        self.private: dict[str, bool] = {}
        self.altered: str = ""
        """End of the name of a file whose last byte is changed on its way in."""

    def create(self, name: str, *, private: bool) -> None:
        self.private.setdefault(name, private)
        self.commits.setdefault(name, {"0" * 40: {}})
        self.branches.setdefault(name, {"main": "0" * 40})

    def sha(self, name: str, revision: str) -> str | None:
        found = self.branches.get(name, {}).get(revision, revision)
        return found if found in self.commits.get(name, {}) else None

    def commit(self, name: str, branch: str, files: dict[str, bytes]) -> str:
        now = dict(self.commits[name][self.branches[name][branch]])
        for path, content in files.items():
            is_other = bool(self.altered) and path.endswith(self.altered)
            now[path] = content[:-1] + bytes([content[-1] ^ 1]) if is_other else content
        sha = hashlib.sha1(repr(sorted(now.items())).encode()).hexdigest()
        self.commits[name][sha], self.branches[name][branch] = now, sha
        return sha


def _oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_HEAD = do_GET

    def _serve(self) -> None:
        self._body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._json({"error": "Invalid credentials"}, 401)
        elif parts[:1] != ["api"]:
            self._resolve(parts)
        elif parts[1:3] == ["repos", "create"]:
            self._create()
        elif parts[1] == "whoami-v2":
            self._json({"type": "user", "name": "me", "orgs": []})
        elif parts[1] == "validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif parts[1] == "models":
            self._model("/".join(parts[2:4]), parts[4:])
        else:
            self._json({"error": "Not found"}, 404)

    def _create(self) -> None:
        asked = json.loads(self._body)
        owner = asked.get("organization") or "me"
        name = f"{owner}/{asked['name']}"
        if name in self.hub.commits:
            self._json({"error": "exists", "url": name}, 409)
            return
        private = asked.get("private") or asked.get("visibility") == "private"
        self.hub.create(name, private=bool(private))
        self._json({"url": f"{self._base}/{name}", "id": name, "name": name})

    @property
    def _base(self) -> str:
        return f"http://{self.headers['Host']}"

    def _model(self, name: str, rest: list[str]) -> None:
        what = rest[0] if rest else ""
        if name not in self.hub.commits:
            self._json({"error": "Repository not found"}, 404, "RepoNotFound")
            return
        if what == "branch":
            self.hub.branches[name].setdefault(rest[1], self.hub.branches[name]["main"])
            self._json({})
            return
        revision = rest[1] if len(rest) > 1 else "main"
        sha = self.hub.sha(name, revision)
        if sha is None:
            self._json({"error": "Invalid rev"}, 404, "RevisionNotFound")
            return
        files = self.hub.commits[name][sha]
        if what in ("", "revision"):
            self._json({"id": name, "modelId": name, "sha": sha, "siblings": [], "tags": []})
        elif what == "preupload":
            asked = json.loads(self._body)["files"]
            told = [
                {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                for one in asked
            ]
            self._json({"files": told})
        elif what == "commit":
            self._commit(name, revision)
        elif what == "tree":
            self._tree(files, "/".join(rest[2:]))
        elif what == "paths-info":
            self._paths_info(files)
        else:
            self._json({"error": "Not found"}, 404)

    def _commit(self, name: str, branch: str) -> None:
        lines = [json.loads(line) for line in self._body.splitlines() if line]
        sent = [line["value"] for line in lines if line["key"] == "file"]
        files = {one["path"]: base64.b64decode(one["content"]) for one in sent}
        sha = self.hub.commit(name, branch, files)
        url = f"{self._base}/{name}/commit/{sha}"
        self._json({"commitUrl": url, "commitOid": sha, "success": True})

    def _entries(self, files: dict[str, bytes], folder: str) -> list[dict[str, Any]]:
        start = f"{folder}/" if folder else ""
        found: dict[str, dict[str, Any]] = {}
        for path, content in files.items():
            if path.startswith(start):
                parts = path.removeprefix(start).split("/")
                for depth in range(1, len(parts)):
                    below = start + "/".join(parts[:depth])
                    found[below] = {"type": "directory", "path": below, "oid": "0", "size": 0}
                found[path] = _file(path, content)
        return list(found.values())

    def _tree(self, files: dict[str, bytes], folder: str) -> None:
        query = urlsplit(self.path).query.lower()
        entries = self._entries(files, folder)
        if "recursive=true" not in query and "recursive=1" not in query:
            depth = folder.count("/") + 1 if folder else 0
            entries = [one for one in entries if one["path"].count("/") == depth]
        if folder and not entries:
            self._json({"error": "Not found"}, 404, "EntryNotFound")
        else:
            self._json(entries)

    def _paths_info(self, files: dict[str, bytes]) -> None:
        asked = json.loads(self._body)["paths"]
        folders = {one["path"]: one for one in self._entries(files, "")}
        self._json([folders[path] for path in asked if path in folders])

    def _resolve(self, parts: list[str]) -> None:
        name, revision, path = "/".join(parts[:2]), parts[3], "/".join(parts[4:])
        sha = self.hub.sha(name, revision)
        content = self.hub.commits[name][sha].get(path) if sha else None
        if content is None:
            self._json({"error": "Entry not found"}, 404, "EntryNotFound")
            return
        headers = {
            "X-Repo-Commit": str(sha),
            "ETag": f'"{_oid(content)}"',
            "Accept-Ranges": "bytes",
        }
        status = 200
        if (asked := self.headers.get("Range")) is not None:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            stop = min(int(last or len(content)), len(content) - 1) + 1
            headers["Content-Range"] = f"bytes {first}-{stop - 1}/{len(content)}"
            content, status = content[int(first) : stop], 206
        self._send(content, status, headers)

    def _json(self, value: object, status: int = 200, error: str = "") -> None:
        headers = {"Content-Type": "application/json"} | ({"X-Error-Code": error} if error else {})
        self._send(json.dumps(value).encode(), status, headers)

    def _send(self, content: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_args: object) -> None:
        pass


def _file(path: str, content: bytes) -> dict[str, Any]:
    return {"type": "file", "path": path, "size": len(content), "oid": _oid(content)}


@contextmanager
def served_hub(hub: Hub) -> Iterator[str]:
    """Yield the hub's URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()

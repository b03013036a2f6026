"""A Ray cluster of several nodes on this machine, by `ray start`: with a token, on loopback.

Its own home, temporary folder and ports; nodes end with the block. `ray stop` is not used, it would
end every Ray process of the machine.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

START_S = 90
PROGRAM = "from atlasjobs.cli import main; main()"
NODE = """
import subprocess, sys, threading
import psutil

node = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)

def end():
    sys.stdin.read()  # until the test ends, however it does
    family = psutil.Process(node.pid).children(recursive=True)
    node.terminate()
    psutil.wait_procs([psutil.Process(node.pid), *family], timeout=10)
    for process in [one for one in family if one.is_running()]:
        process.kill()
    node.kill()

threading.Thread(target=end, daemon=True).start()
sys.exit(node.wait())
"""


@dataclass
class RayNodes:
    """Nodes started one by one, and the command line in the same environment."""

    home: Path
    variables: dict[str, str]
    port: int
    dashboard: int
    nodes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.dashboard}"

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """Start a node that ends when its standard input closes."""
        log = (self.home / f"node-{len(self.nodes)}.log").open("wb")
        common = ("--object-store-memory=80000000", "--disable-usage-stats", "--block")
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", *options, *common]
        with log:
            node = subprocess.Popen(
                [sys.executable, "-c", NODE, *command],
                env=dict(self.variables),
                stdout=log,
                stderr=log,
                stdin=subprocess.PIPE,
            )
        self.nodes.append(node)
        return node

    def head(self, cpus: int = 1) -> None:
        """Start the head, and wait until Ray Jobs answers."""
        self.start(
            *("--head", f"--port={self.port}", "--node-ip-address=127.0.0.1"),
            *("--dashboard-host=127.0.0.1", f"--dashboard-port={self.dashboard}"),
            f"--num-cpus={cpus}",
        )
        until = time.monotonic() + START_S
        while not self._answers():
            assert time.monotonic() < until, (self.home / "node-0.log").read_text()
            time.sleep(0.3)

    def worker(self, cpus: int = 1) -> subprocess.Popen[bytes]:
        """Start a worker node."""
        return self.start(f"--address=127.0.0.1:{self.port}", f"--num-cpus={cpus}")

    def kill(self, node: subprocess.Popen[bytes]) -> None:
        """End a node at once, with all that runs on it: as when a machine is taken away."""
        processes = [psutil.Process(node.pid), *psutil.Process(node.pid).children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        with node:  # closes its standard input
            node.wait()
        self.nodes.remove(node)

    def drain(self, node: subprocess.Popen[bytes], notice_s: int) -> None:
        """Tell Ray that a node will be taken away, as a cloud's notice is passed on."""
        family = psutil.Process(node.pid).children(recursive=True)
        words = [word for one in family for word in one.cmdline() if word.startswith("--node_id=")]
        self._ray(
            *("drain-node", "--address", f"127.0.0.1:{self.port}", "--node-id", words[0][10:]),
            *("--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot"),
            *("--deadline-remaining-seconds", str(notice_s)),
        )

    def _ray(self, *words: str) -> None:
        command = [sys.executable, "-m", "ray.scripts.scripts", *words]
        subprocess.run(command, env=self.variables, capture_output=True, timeout=90, check=True)

    def end(self) -> None:
        """End every node."""
        for node in reversed(self.nodes):
            assert node.stdin is not None
            node.stdin.close()
        for node in self.nodes:
            node.wait(timeout=40)

    def run(
        self, *words: object, timeout_s: float = 400, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run ``atlasbasset WORDS`` as a person at this cluster's address would."""
        return subprocess.run(
            self.command(*words),
            env=self.client,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            cwd=cwd,
        )

    def command(self, *words: object) -> list[str]:
        return [sys.executable, "-c", PROGRAM, *map(str, words)]

    @property
    def client(self) -> dict[str, str]:
        return {**self.variables, "RAY_ADDRESS": self.address}

    def metrics(self) -> str:
        """Return what Prometheus would read of all nodes."""
        found = json.loads((self.home / "ray" / "prom_metrics_service_discovery.json").read_text())
        texts = []
        for target in {target for entry in found for target in entry["targets"]}:
            with suppress(OSError), urllib.request.urlopen(f"http://{target}/metrics") as answer:
                texts.append(answer.read().decode())
        return "\n".join(texts)

    def _answers(self) -> bool:
        token = self.variables["RAY_AUTH_TOKEN"]
        asked = urllib.request.Request(
            f"{self.address}/api/version", headers={"Authorization": f"Bearer {token}"}
        )
        try:
            with urllib.request.urlopen(asked, timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False


@contextmanager
def own_ray(*, cpus: int = 2, **variables: str) -> Iterator[None]:
    """Start a Ray for these tests alone, in this process, on loopback, with these variables set."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"RAY_AUTH_MODE": "disabled", **variables}.items():
            patch.setenv(name, value)
        ray.init(address="local", num_cpus=cpus, include_dashboard=False, log_to_driver=False)
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def ray_nodes(**variables: str) -> Iterator[RayNodes]:
    """Yield a cluster without nodes; `head` and `worker` start them, with these variables set."""
    home = Path(tempfile.mkdtemp(prefix="ab-"))  # Ray's socket paths must stay under 108 bytes
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment = {
        **kept,
        "HOME": str(home),
        "RAY_TMPDIR": str(home),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": ":".join(sys.path),
        **variables,
    }
    nodes = RayNodes(home, environment, *_free_ports(2))
    try:
        yield nodes
    finally:
        nodes.end()
        shutil.rmtree(home, ignore_errors=True)


def _free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports

"""Token authentication for real: a Ray head of its own, and clients with and without the token.

The head lives in its own process, with its own home and temporary folder, and ends when its
standard input closes: even if this test is killed, none is left behind. `ray stop` is not used,
it would end every Ray process of the machine.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.ray

HEAD = """
import sys, ray
context = ray.init("local", num_cpus=1, include_dashboard=False, object_store_memory=80_000_000,
                   _temp_dir=sys.argv[1])
print("address", context.address_info["gcs_address"], flush=True)
sys.stdin.read()
ray.shutdown()
"""


def environment(home: Path, **auth: str) -> dict[str, str]:
    """This process's environment without any Ray setting, in a home of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {**kept, "HOME": str(home), **auth}


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    # Not pytest's folder: Ray's socket paths must stay under 108 bytes.
    folder = Path(tempfile.mkdtemp(prefix="ab-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def cluster(home: Path) -> Iterator[tuple[str, str]]:
    """(address, token) of a running head in token mode."""
    token = secrets.token_hex(16)
    auth = environment(home, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token)
    with subprocess.Popen(
        [sys.executable, "-c", HEAD, str(home / "ray")],
        env=auth,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as head:
        assert head.stdout is not None
        assert head.stdin is not None
        lines = iter(head.stdout.readline, "")
        address = next(line.split()[1] for line in lines if line.startswith("address "))
        yield address, token
        head.stdin.close()
        assert head.wait(timeout=30) == 0


DRIVER = """
import sys, ray
ray.init(sys.argv[1], log_to_driver=False)
print("answer", ray.get(ray.remote(num_cpus=0)(lambda: 6 * 7).remote()))
"""


def ask(address: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """What `ray status` says, in a process of its own."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "status", "--address", address]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)


def test_the_right_token_is_accepted(cluster: tuple[str, str], home: Path) -> None:
    address, token = cluster
    done = ask(address, environment(home, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token))
    assert done.returncode == 0, done.stderr


def test_a_token_file_at_home_lets_a_driver_run_a_task(
    cluster: tuple[str, str], tmp_path: Path
) -> None:
    """The way `ray up` distributes the token: ~/.ray/auth_token on every node."""
    address, token = cluster
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text(token)
    env = environment(tmp_path, RAY_AUTH_MODE="token")
    command = [sys.executable, "-c", DRIVER, address]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert "answer 42" in done.stdout, done.stderr


def test_a_wrong_token_is_refused(cluster: tuple[str, str], home: Path) -> None:
    address, token = cluster
    wrong = "0" * len(token)
    done = ask(address, environment(home, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=wrong))
    assert done.returncode != 0
    assert "Authentication" in done.stdout + done.stderr
    assert "CPU" not in done.stdout


def test_no_token_is_refused(cluster: tuple[str, str], home: Path) -> None:
    address, _ = cluster
    done = ask(address, environment(home, RAY_AUTH_MODE="disabled"))
    assert done.returncode != 0
    assert "Authentication" in done.stdout + done.stderr
    assert "CPU" not in done.stdout

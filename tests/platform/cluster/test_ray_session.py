"""What Ray is asked for, and that a Ray started here is for this machine only."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from atlasbasset.cluster.ray_session import (
    _check_resources,
    _last_words,
    _make_token,
    _tell_briefly,
    ray_session,
)
from atlasstore.errors import AtlasError, UserInputError
from atlasstore.events import Notice, ignore


def test_a_ray_of_this_machine_is_not_asked_for_more_than_it_has():
    with pytest.raises(UserInputError, match="need 3 CPUs \\(there are 2\\)"):
        _check_resources({"CPU": 3}, {"CPU": 2.0}, print, joined=False)
    _check_resources({"CPU": 2}, {"CPU": 2.0}, print, joined=False)


def test_a_cluster_may_still_grow():
    said = []
    _check_resources({"CPU": 2, "GPU": 4}, {"CPU": 2.0}, said.append, joined=True)
    assert said == [Notice("Waiting for the Ray cluster to have 4 GPUs (there are 0).")]


def test_a_token_is_its_owners_alone_and_never_replaced(tmp_path):
    path = tmp_path / "home" / ".ray" / "auth_token"
    _make_token(path)
    token = path.read_text()
    assert len(token) >= 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    _make_token(path)
    assert path.read_text() == token
    assert [found.name for found in path.parent.iterdir()] == ["auth_token"]


def test_a_home_that_cannot_be_written_to_is_told_in_a_sentence(tmp_path):
    (tmp_path / "home").write_text("not a folder")
    with pytest.raises(UserInputError, match=r"token cannot be written to .*RAY_AUTH_TOKEN_PATH"):
        _make_token(tmp_path / "home" / ".ray" / "auth_token")


def test_a_cluster_that_cannot_be_joined_is_told_in_a_sentence(monkeypatch):
    import ray

    def refuse(**_):
        raise ConnectionError("nobody\nthere.")

    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    said = r"cluster 10\.0\.0\.1:6379 cannot be joined \(ConnectionError: nobody there\); check"
    with pytest.raises(AtlasError, match=said), ray_session({"CPU": 1}, ignore):
        pass


def test_the_last_words_are_errors_without_stack_traces_or_the_last_lines(tmp_path):
    (tmp_path / "gcs_server.err").write_text(
        "[2026-01-02 03:04:05,678 C 12 12] (gcs_server) main.cc:1:  Check failed: disk\n"
        "*** StackTrace Information ***\n/lib/gcs_server(+0x1) [0x2] main\n\n"
        "[2026-01-02 03:04:05,678 E 12 12] (gcs_server) logging.cc:125: Stack trace: \n"
        "[2026-01-02 03:04:05,678 E 12 12] (gcs_server) logging.cc:474: *** SIGABRT received at\n"
        "[2026-01-02 03:04:05,678 E 12 12] (gcs_server) logging.cc:474: PC: @     0x7f (unknown)\n"
        "[2026-01-02 03:04:05,678 E 12 12] (gcs_server) logging.cc:474:     @     0x7f (unknown)\n"
        "[2026-01-02 03:04:05,678 E 12 12] (gcs_server) a.cc:1: what(): full /g(+0x14c) [0x55c]\n"
        "E0102 03:04:05.412763748   12395 socket.cc:477]     socket(2, 1, 0) returned -1\n"
    )
    (tmp_path / "raylet.err").write_text("")
    assert _last_words(tmp_path) == [
        "(gcs_server) main.cc:1:  Check failed: disk",
        "(gcs_server) a.cc:1: what(): full",
        "socket(2, 1, 0) returned -1",
    ]
    (tmp_path / "gcs_server.err").write_text("\n".join("abcdefg\n"))
    assert _last_words(tmp_path) == list("cdefg")


def test_what_ray_says_of_nodes_is_a_sentence_of_each_kind(monkeypatch):
    from ray._private import worker

    monkeypatch.setattr(worker, "print_to_stdstream", worker.print_to_stdstream)
    said = []
    _tell_briefly(said.append)
    for node in ("5193500e4e31", "e5f6518ff007"):
        lost = f"\x1b[33mThe node with node id: {node} and address: 10.0.0.{node[0]}1 is dead. This"
        worker.print_to_stdstream({"lines": [f"{lost}\ncan happen when a \n\t(1) raylet crashes"]})
    worker.print_to_stdstream({"lines": ["Another one"]}, ignore_prefix=False)
    assert [notice.message for notice in said] == [
        "Ray: The node with node id: 5193500e4e31 and address: 10.0.0.51 is dead.",
        "Ray: Another one",
    ]


@pytest.fixture
def home():
    # not pytest's folder: Ray's socket paths must stay under 108 bytes
    folder = Path(tempfile.mkdtemp(prefix="ab-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def environment(home: Path, **variables: str) -> dict[str, str]:
    """This process's environment without any Ray setting, in a home of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {**kept, "HOME": str(home), "RAY_TMPDIR": str(home), **variables}


def run(script: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script]
    return subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=120, check=False
    )


PORTS = """
import json, os, sys
import psutil
if "late" in os.environ["IMPORTED"]:
    import ray
from atlasbasset.cluster.ray_session import ray_session

with ray_session({"CPU": 1}, print):
    import ray

    @ray.remote(num_cpus=1)
    class Told:
        def mode(self):
            return os.environ["RAY_AUTH_MODE"]

    told = Told.remote()
    mode = ray.get(told.mode.remote())
    me = psutil.Process()
    listening = [
        (process.name(), connection.laddr.ip)
        for process in [me, *me.children(recursive=True)]
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
left = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "GLOO_SOCKET_IFNAME"} & set(os.environ)
print(json.dumps({"mode": mode, "listening": listening, "left": sorted(left)}))
"""
LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


@pytest.mark.ray
@pytest.mark.parametrize(
    "imported", ["by the session", pytest.param("too late", marks=pytest.mark.slow)]
)
def test_the_first_use_in_a_new_home_makes_a_token_and_listens_on_loopback_alone(home, imported):
    done = run(PORTS, environment(home, IMPORTED=imported))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    token = home / ".ray" / "auth_token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert found["mode"] == "token"
    names = {name for name, _ in found["listening"]}
    assert {"gcs_server", "raylet"} <= names
    assert len(names) >= 4  # this driver and a worker as well
    assert {address for _, address in found["listening"]} <= LOOPBACK
    assert found["left"] == []


BROKEN = """
import ray, torch
from atlasbasset.cluster.ray_session import ray_session

try:
    with ray_session({"CPU": 1}, print):
        pass
except Exception as error:
    print(type(error).__name__, error, *error.__notes__, sep="\\n")
"""


@pytest.mark.slow
@pytest.mark.ray
def test_where_ray_does_not_start_its_own_last_words_are_told(home):
    setting = {"RAY_gcs_storage": "nowhere", "RAY_gcs_server_port_wait_time_s": "4"}
    done = run(BROKEN, environment(home, **setting))
    kind, sentence, *words = done.stdout.splitlines()
    assert kind == "AtlasError", done.stderr
    assert sentence.startswith("Ray did not start on this machine (RuntimeError: ")
    assert "--workers 0" in sentence
    assert [word.split(": ", 1)[1] for word in words] == ["Unsupported GCS storage type: nowhere"]


HEAD = """
import sys, ray
context = ray.init("local", num_cpus=1, resources={"planted": 7}, include_dashboard=False,
                   object_store_memory=80_000_000, _temp_dir=sys.argv[1])
print("address", context.address_info["gcs_address"], flush=True)
sys.stdin.read()
"""
JOIN = """
import os
from atlasbasset.cluster.ray_session import ray_session

for _ in range(2):  # the second finds what the first has left running
    with ray_session({"CPU": 1}, print):
        import ray
        print("joined", ray.cluster_resources()["planted"], os.environ.get("RAY_AUTH_MODE"))
    ray.shutdown()
"""


@pytest.mark.ray
@pytest.mark.slow
def test_a_named_cluster_is_joined_as_it_is_and_left_running(home):
    head = subprocess.Popen(
        [sys.executable, "-c", HEAD, str(home / "ray")],
        env=environment(home, RAY_AUTH_MODE="disabled"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with head:
        lines = iter(head.stdout.readline, "")
        address = next(line.split()[1] for line in lines if line.startswith("address "))
        done = run(JOIN, environment(home, RAY_ADDRESS=address))
        head.stdin.close()
    told = [line for line in done.stdout.splitlines() if line.startswith("joined")]
    assert told == ["joined 7.0 None"] * 2, done.stderr
    assert not (home / ".ray").exists()

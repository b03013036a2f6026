from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from atlasstore.errors import CountsError, UserInputError
from atlasstore.files import hdf5, hdf5_walk
from atlasstore.files.hdf5 import check_hdf5, check_whole
from http_folder import served


@pytest.fixture(autouse=True)
def _plain_walks(monkeypatch):
    """By the program itself, not forked as elsewhere (tests/walker.py)."""
    monkeypatch.setattr(hdf5, "subprocess", subprocess)


DAMAGE = {
    "x is a link to another file": lambda f: f.update(x=h5py.ExternalLink("/etc/hostname", "/")),
    "g/x is a link to another file": lambda f: f.create_group("g").update(
        x=h5py.ExternalLink("/etc/hostname", "/")
    ),
    "x is stored in another file": lambda f: f.create_dataset(
        "x", (4,), "u1", external=[("/etc/hostname", 0, 4)]
    ),
    "x is made of parts of other files": lambda f: f.create_virtual_dataset("x", layout()),
    "x is declared 1,800.0 GB large but not stored": lambda f: f.create_dataset(
        "x", (10**11,), "S18", chunks=(10**6,)
    ),
    "y is declared 0.2 GB large but not stored": lambda f: [
        f.create_dataset(name, (200_000_000,), "u1", chunks=(10**6,)) for name in "xy"
    ],
}


def layout():
    made = h5py.VirtualLayout((4,), "u1")
    made[:] = h5py.VirtualSource("/tmp/other.h5", "x", (4,))
    return made


@pytest.mark.parametrize("message", DAMAGE)
def test_what_reaches_outside_or_is_not_there(tmp_path, message):
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        DAMAGE[message](file)
    with h5py.File(path) as file, pytest.raises(CountsError) as caught:
        check_hdf5(file, name="f.h5", error=CountsError)
    assert message in str(caught.value)


def test_ordinary_files_are_opened(tmp_path):
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        file["g/packed"] = np.arange(10)
        file["scalar"], file["text"] = 3, "x"
        file["soft"], file["hard"] = h5py.SoftLink("/g/packed"), file["g"]
        file["g/loop"] = file["g"]
        file.create_dataset("unwritten", (1000, 1000), "f4", chunks=(100, 100))
        file.create_dataset("empty", (0,), "i4", maxshape=(None,))
        file.create_dataset("zipped", data=np.zeros(10**6), compression="gzip")
        file["null"] = h5py.Empty("f4")
    with h5py.File(path) as file:
        check_hdf5(file, name="f.h5", error=CountsError)
        assert list(file["soft"]) == list(range(10))


def write_walk_that(fault, tmp_path, monkeypatch):
    """Let the program that looks through files do `fault` when it has opened one."""
    program = tmp_path / "walk.py"
    text = Path(hdf5_walk.__file__).read_text()
    head, body, tail = text.partition("        _attributes(file)\n")
    program.write_text(
        f"import signal\n{head[head.index('import os') :]}        {fault}\n{body}{tail}"
    )
    monkeypatch.setattr(hdf5_walk, "__file__", str(program))


CRASH = "os.kill(os.getpid(), signal.SIGSEGV)"


@pytest.mark.parametrize("fault", ["while True: pass", CRASH])
def test_a_file_on_which_the_library_hangs_or_crashes(tmp_path, monkeypatch, fault):
    write_walk_that(fault, tmp_path, monkeypatch)
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        file["x"] = [1]
    with pytest.raises(UserInputError, match=r"cannot be read: HDF5 crashes on it, or takes"):
        check_whole(path, error=UserInputError, least_s=1)


def test_a_remote_file_is_looked_through_as_well(tmp_path, monkeypatch):
    """Its URL, which may be signed, is in no argument and in no message."""
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["x"] = [1]
    with served(tmp_path, signature="s1gned") as server:
        url = f"{server}/f.h5?X-Amz-Signature=s1gned"
        check_whole(url, error=CountsError)
        write_walk_that(CRASH, tmp_path, monkeypatch)
        hdf5._is_walked.cache_clear()
        started, run = [], subprocess.run
        monkeypatch.setattr(
            subprocess,
            "run",
            lambda command, **more: started.append(command) or run(command, **more),
        )
        with pytest.raises(CountsError, match=r"/f.h5.* cannot be read: HDF5 crashes") as caught:
            check_whole(url, error=CountsError)
    assert "s1gned" not in f"{started} {caught.value}"


def test_a_file_is_looked_through_once(tmp_path, monkeypatch):
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("names", data=["a", "b"])
        file["names"].attrs["kind"] = "text"
        file["link"] = h5py.SoftLink("/nowhere")
        file.create_dataset("huge", (10**12,), h5py.string_dtype(), chunks=(10**6,))
    check_whole(path, error=UserInputError)
    monkeypatch.setattr(hdf5, "subprocess", None)
    check_whole(path, error=UserInputError)


def test_what_is_no_hdf5_is_told_by_its_reader(tmp_path):
    (tmp_path / "f.h5").write_bytes(b"text")
    check_whole(tmp_path / "f.h5", error=UserInputError)


def test_a_lower_limit_of_the_user_stands(tmp_path):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["x"] = [1]
    command = [sys.executable, "-P", hdf5_walk.__file__, "5"]
    shell = f"ulimit -v {4 << 20}; ulimit -t 60; exec {shlex.join(command)}"
    file = str(tmp_path / "f.h5")
    ended = subprocess.run(
        ["sh", "-c", shell], input=file, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")

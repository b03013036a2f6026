from __future__ import annotations

import h5py
import numpy as np
import pytest

from atlasstore.errors import CountsError
from atlasstore.files.hdf5 import check_hdf5

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

"""Files made to crash or to occupy their reader: each ends within its limits, in one sentence."""

from __future__ import annotations

import zipfile
from contextlib import suppress

import numpy as np
import pytest
import safetensors.torch
import torch

from atlasbasset.weights.torch_file import read_torch_file
from atlasbasset.weights.torch_load import load
from atlasstore.errors import UserInputError


def archive(path, pickled, *, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as zipped:
        zipped.writestr("archive/data.pkl", pickled)
        zipped.writestr("archive/version", "3\n")
        zipped.writestr("archive/byteorder", "little")
        zipped.writestr("archive/data/0", bytes(16))
    return path


def number(n):
    return b"\x8a\x08" + n.to_bytes(8, "little", signed=True)


def numbers(*values):
    return b"(" + b"".join(map(number, values)) + b"t"


def text(value):
    return b"X" + len(value).to_bytes(4, "little") + value


def tensor(n_stored, offset, shape, strides):
    """The pickle of a tensor that views the four floats of ``data/0``."""
    storage = text(b"storage") + b"ctorch\nFloatStorage\n" + text(b"0") + text(b"cpu")
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n(("
        + storage
        + number(n_stored)
        + b"tQ"
        + number(offset)
        + numbers(*shape)
        + numbers(*strides)
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )


def state(*tensors):
    items = (text(b"%04d" % k) + t + b"s" for k, t in enumerate(tensors))
    return b"\x80\x02}" + b"".join(items) + b"."


REFUSED = {
    "ten thousand views of one tensor": state(*[tensor(4, 0, (1 << 20,), (0,))] * 10_000),
    "a terabyte of stride zero": state(tensor(4, 0, (1 << 40,), (0,))),
    "five gigabytes of stride zero": state(tensor(4, 0, (1_250_000_000,), (0,))),
    "more values than are stored": state(tensor(1_000_000, 0, (1_000_000,), (1,))),
    "a view past the end": state(tensor(4, 0, (1000,), (1,))),
    "a view from past the end": state(tensor(4, 1000, (4,), (1,))),
    "a view from before the start": state(tensor(4, -100, (4,), (1,))),
    "a negative stride": state(tensor(4, 3, (4,), (-1,))),
    "a negative size": state(tensor(4, 0, (-4,), (1,))),
    "no shape": b"\x80\x02}" + text(b"a") + b"ctorch._utils\n_rebuild_tensor_v2\n)Rs.",
    "no arguments": b"\x80\x02}" + text(b"a") + b"ctorch._utils\n_rebuild_parameter\n)Rs.",
    "a list of itself": b"\x80\x02]q\x00h\x00a.",
    "a stack that is empty": b"\x80\x02R.",
    "a value that is cut": b"\x80\x02}X\xff\xff\xff\x7fa.",
    "nothing": b"",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_pytorch_or_we_refuse(tmp_path, name):
    with suppress(Exception):
        load(archive(tmp_path / "m.pt", REFUSED[name]))
        pytest.fail("it was read")


SHARED = b"".join(b"\x86q" + bytes([k]) + b"h" + bytes([k]) for k in range(1, 60))
FATAL = {
    "a key nested too deep to hash": b"\x80\x02})" + b"\x85" * 2_000_000 + b"Ns.",
    "a key that takes years to hash": b"\x80\x02})q\x00h\x00" + SHARED[:-2] + b"Ns.",
}


@pytest.mark.parametrize("name", FATAL)
def test_what_would_end_or_occupy_this_process(tmp_path, name):
    path = archive(tmp_path / "m.pt", FATAL[name])
    with pytest.raises(UserInputError) as caught:
        read_torch_file(path, seconds=1)
    assert str(caught.value).startswith(f"{path} cannot be read as a torch.save file (")
    assert len(str(caught.value).splitlines()) == 1


def test_a_dict_of_itself_holds_no_tensors(tmp_path):
    found, _ = load(
        archive(tmp_path / "m.pt", b"\x80\x02}q\x00" + text(b"model_state_dict") + b"h\x00s.")
    )
    assert found == {}


def test_compressed_parts(tmp_path):
    path = archive(tmp_path / "m.pt", bytes(100_000_000), compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 200_000
    with pytest.raises(UserInputError, match="parts are compressed"):
        read_torch_file(path)


def test_a_flipped_byte(tmp_path):
    path = tmp_path / "m.pt"
    torch.save({"w": torch.arange(1000.0)}, path)
    content = bytearray(path.read_bytes())
    content[content.index(np.float32(500).tobytes())] ^= 64
    path.write_bytes(content)
    with pytest.raises(ValueError, match="data/0 fails its checksum"):
        load(path)


def test_arrays_of_safetensors_that_numpy_lacks(tmp_path):
    path = tmp_path / "m.safetensors"
    safetensors.torch.save_file({"w": torch.ones(2, dtype=torch.float8_e4m3fn)}, path)
    with pytest.raises(UserInputError, match=r"nor safetensors that NumPy holds"):
        read_torch_file(path)

"""Tensors and names of a ``torch.save`` file or a safetensors file.

A ``torch.save`` file is a zip around a pickle. PyTorch's restricted unpickler calls nothing but
what it is allowed to, yet a small file can still crash it, or keep it busy for years (deep or
shared tuples as keys). `torch_load` therefore reads the file in a process of its own, within limits
of processor time and memory, and hands back safetensors and JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import safetensors.numpy
from safetensors import SafetensorError

from atlasbasset.weights import torch_load
from atlasstore.errors import UserInputError
from atlasstore.files import urls
from atlasstore.files.json_text import parsed_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["TorchFile", "read_torch_file"]

_CPU_SECONDS = 8
_BYTES_PER_TIME = 400_000_000
_START_SECONDS = 120
"""To import PyTorch, which a slow shared disk can delay."""


class TorchFile(NamedTuple):
    """What a weight file holds."""

    tensors: dict[str, NDArray[Any]]
    """State-dict names -> values."""
    texts: dict[str, list[str]]
    """Names of the arrays of text that were asked for and found -> their entries."""


def read_torch_file(
    path: str | Path,
    *,
    texts: Mapping[str, tuple[str, ...]] | None = None,
    seconds: int = _CPU_SECONDS,
) -> TorchFile:
    """Read a state dict, or a dict with ``model_state_dict``.

    Parameters
    ----------
    path
        A file of ``torch.save``; one whose first bytes are not a zip's is read as safetensors.
    texts
        Name -> keys that lead to an array of text saved beside the state dict.
    seconds
        Processor time that reading may take, and as much again for every 400 MB.

    Raises
    ------
    UserInputError
        When it is neither, is damaged, or takes more time or memory than a file of its size may.
    """
    local = urls.local_path(path)
    if not zipfile.is_zipfile(local):
        return TorchFile(_read_safetensors(local), {})
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        fault = _run_reader(local, folder, texts or {}, seconds)
        if fault is None:
            found = parsed_json((folder / torch_load.TEXTS).read_bytes())
            return TorchFile(safetensors.numpy.load_file(folder / torch_load.TENSORS), found)
    raise UserInputError(
        f"{path} cannot be read as a torch.save file ({fault}); save the state dict again with "
        "torch.save, or as safetensors."
    )


def _read_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    try:
        return dict(safetensors.numpy.load_file(path))
    except (SafetensorError, OSError, KeyError, TypeError, AttributeError) as error:
        raise UserInputError(
            f"{path} is neither a torch.save file nor safetensors that NumPy holds ({error}); give "
            "scvi-tools' model.pt, or its state dict saved with torch.save or as safetensors."
        ) from error


def _run_reader(
    path: Path, folder: Path, texts: Mapping[str, tuple[str, ...]], seconds: int
) -> str | None:
    """Read `path` into `folder` in another process; return what went wrong, if anything did."""
    seconds += seconds * path.stat().st_size // _BYTES_PER_TIME
    command = [sys.executable, "-P", torch_load.__file__, str(path), str(folder), str(seconds)]
    try:
        ended = subprocess.run(
            command,
            input=json.dumps(texts).encode(),
            capture_output=True,
            check=False,
            timeout=_START_SECONDS + 2 * seconds,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
    except subprocess.TimeoutExpired:
        return f"reading takes longer than {_START_SECONDS + 2 * seconds} s"
    fault = folder / torch_load.FAULT
    if ended.returncode == 0 or fault.exists():
        return fault.read_text() if ended.returncode else None
    return f"reading it crashes, or takes longer than {seconds} s of processor time"

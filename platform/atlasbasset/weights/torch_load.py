"""Reads a ``torch.save`` file within limits of time and memory, as a program of its own.

``python torch_load.py FILE FOLDER SECONDS`` with JSON on its input: name -> keys that lead to an
array of text. It writes ``tensors.safetensors`` and ``texts.json`` into FOLDER, or the reason why
not into ``fault.txt``. It imports little, so that it starts quickly; `torch_file` runs it.
"""

from __future__ import annotations

import json
import os
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import safetensors.numpy
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FAULT", "TENSORS", "TEXTS", "load", "text_at"]

TENSORS, TEXTS, FAULT = "tensors.safetensors", "texts.json", "fault.txt"
_MEMORY_BYTES = 1 << 30
"""Beside four times the file's size."""
_SHOWN = 200
"""Characters of an error of PyTorch's that a message shows."""


def main(path: Path, folder: Path, seconds: int) -> int:
    """Read `path` into `folder`; return the exit code."""
    torch.set_num_threads(1)
    _limit(seconds, _MEMORY_BYTES + 4 * path.stat().st_size)
    try:
        tensors, saved = load(path)
        safetensors.numpy.save_file(tensors, folder / TENSORS)
        wanted = json.load(sys.stdin)
        found = {name: text_at(saved, keys) for name, keys in wanted.items()}
        texts = {name: text for name, text in found.items() if text is not None}
        (folder / TEXTS).write_text(json.dumps(texts))
    except Exception as error:  # noqa: BLE001 - reported to the process that asked
        (folder / FAULT).write_text(_sentence(error))
        return 1
    return 0


def _limit(seconds: int, n_bytes: int) -> None:
    """Bound this process: processor time, and memory beyond what it holds now."""
    try:
        import resource
    except ImportError:  # no such limits on this system; the waiting time is bounded still
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    until = int(sum(os.times()[:2])) + seconds
    bounds = {resource.RLIMIT_CPU: until}
    status = Path("/proc/self/statm")
    if status.exists():
        most = int(status.read_text().split()[0]) * resource.getpagesize() + n_bytes
        bounds[resource.RLIMIT_AS] = most
    for kind, bound in bounds.items():
        allowed = resource.getrlimit(kind)[1]  # may be lower (ulimit) and cannot be raised
        least = bound if allowed == resource.RLIM_INFINITY else min(bound, allowed)
        resource.setrlimit(kind, (least, least))


def load(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return the tensors of a file's state dict, and all that the file holds.

    Objects beside tensors and arrays are read as `_Ignored`: nothing that a file names is imported.

    Raises
    ------
    Exception
        Of any kind, when the file is damaged or made to do harm.
    """
    _check_zip(path)
    named = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    with torch.serialization.safe_globals(_allowed(named)):
        saved = torch.load(path, map_location="cpu", weights_only=True)
    state = saved.get("model_state_dict", saved) if isinstance(saved, dict) else None
    if not isinstance(state, dict):
        raise ValueError("it holds no dict of tensors")  # noqa: TRY004 - of the file
    tensors = {str(k): t.detach() for k, t in state.items() if isinstance(t, torch.Tensor)}
    if sum(t.numel() * t.element_size() for t in tensors.values()) > path.stat().st_size:
        raise ValueError("its tensors declare more values than the file holds")
    return {name: _values(t) for name, t in tensors.items()}, saved


def _check_zip(path: Path) -> None:
    """Raise unless the archive is whole and, as torch.save writes it, uncompressed."""
    with zipfile.ZipFile(path) as zipped:
        files = zipped.infolist()
        if any(f.compress_type != zipfile.ZIP_STORED for f in files):
            raise ValueError("its parts are compressed, which torch.save never does")
        if sum(f.file_size for f in files) > path.stat().st_size:
            raise ValueError("its parts declare more bytes than the file has")
        if (damaged := zipped.testzip()) is not None:
            raise ValueError(f"{damaged} fails its checksum")


class _Ignored:
    """Stands for an object that is of no use here (a history, a data frame)."""

    def __init__(self, *args: object) -> None: ...

    def __new__(cls, *_args: object) -> Self:
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None: ...


def _allowed(named: list[str]) -> list[Any]:
    """Return what the pickle may call: makers of NumPy arrays; anything else is `_Ignored`."""
    rebuild = np.empty(0).__reduce__()[0]  # private, and moved between versions of NumPy
    ours: dict[str, Any] = {
        "numpy.core.multiarray._reconstruct": rebuild,
        "numpy._core.multiarray._reconstruct": rebuild,
        "numpy.ndarray": np.ndarray,
        "numpy.dtype": np.dtype,
        "collections.defaultdict": lambda *_: OrderedDict(),
    }
    dtypes = {type(np.dtype(kind)) for kind in "?bhilqBHILQefdOUS"}
    return [*dtypes, *((ours.get(name, type("_Ignored", (_Ignored,), {})), name) for name in named)]


def _values(tensor: torch.Tensor) -> NDArray[Any]:
    if tensor.layout != torch.strided or tensor.is_complex() or tensor.is_quantized:
        raise ValueError(f"tensors of {tensor.dtype} ({tensor.layout}) are not read here")
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    return np.array(tensor.numpy(), order="C")


def text_at(saved: Any, keys: list[str]) -> list[str] | None:
    """Return the array of text that `keys` lead to; None where there is something else."""
    for key in keys:
        saved = saved.get(key) if isinstance(saved, dict) else None
    values = saved.tolist() if isinstance(saved, np.ndarray) and saved.ndim == 1 else None
    return values if values is not None and all(isinstance(v, str) for v in values) else None


def _sentence(error: Exception) -> str:
    """Return the line of an error that says what is wrong."""
    if isinstance(error, MemoryError):
        return "it takes more memory than a file of its size may"
    if isinstance(error, EOFError):
        return "its pickle breaks off"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reasons = [line for line in lines if line.startswith(("Unsupported", "Can only", "Trying"))]
    line = (reasons or lines or [type(error).__name__])[0].partition(" (Could this")[0]
    return line.strip()[:_SHOWN].rstrip(".")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))

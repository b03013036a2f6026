"""How float32 convolutions are computed on CPU: as asked for, or as this machine does it faster.

The measurement takes less than a second and is kept in the user's cache, keyed by the processor's
features, the number of threads and the versions of what computes: a machine keeps its choice, and
with it the bits of its results.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
from dataclasses import replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast, get_args

import torch

from atlasbasset.core.compute import Convolution, ConvolutionChoice, compute_dtype_for
from atlasbasset.core.convolution_speed import convolution_seconds
from atlasstore.errors import UserInputError
from atlasstore.files.json_text import parsed_json
from atlasstore.files.user_cache import user_cache

if TYPE_CHECKING:
    from pathlib import Path

    from atlasbasset.engine.config import TrainConfig

__all__ = ["arithmetic_words", "check_convolution", "convolution_for", "settled"]

logger = logging.getLogger(__name__)


def check_convolution(convolution: str) -> None:
    """Raise UserInputError unless `convolution` is a choice."""
    if convolution not in get_args(ConvolutionChoice):
        raise UserInputError(f"convolution must be auto, direct or minimal, got {convolution!r}.")


def convolution_for(choice: str, dtype: torch.dtype, device: torch.device) -> Convolution:
    """Return how convolutions of `dtype` on `device` are computed under `choice`.

    Minimal filtering is for float32 on CPU, where numba compiles its transforms; everything else is
    direct.
    """
    if dtype != torch.float32 or device.type != "cpu" or find_spec("numba") is None:
        return "direct"
    return _fastest(torch.get_num_threads()) if choice == "auto" else cast("Convolution", choice)


def settled(config: TrainConfig, device: torch.device) -> TrainConfig:
    """Return `config` with the convolution that all workers use and a resumed run keeps.

    Where nothing is computed in float32 on CPU there is nothing to choose, and "auto" stays.
    """
    dtype = compute_dtype_for(config.compute, device)
    if config.convolution != "auto" or dtype != torch.float32 or device.type != "cpu":
        return config
    return replace(config, convolution=convolution_for("auto", dtype, device))


def arithmetic_words(choice: str, dtype: torch.dtype, device: torch.device) -> str:
    """Return in what arithmetic the trunk computes, and from which measurement that follows.

    Nothing is measured: where "auto" has not been settled on this machine, that is what is said.
    """
    if dtype != torch.float32:
        return f"bf16 on {device.type}"
    if device.type != "cpu" or find_spec("numba") is None:
        return f"float32 on {device.type}"
    if choice != "auto":
        return f"float32, {choice} convolutions"
    path, key = _place(), _machine(torch.get_num_threads())
    seconds = _kept(path).get(key, {})
    if not _is_measured(seconds):
        return "float32, convolutions as a measurement of this machine decides, when work begins"
    best, other = sorted(seconds, key=seconds.__getitem__)
    return (
        f"float32, {best} convolutions (measured: {seconds[best] * 1e3:.0f} ms a stage, {other} "
        f"{seconds[other] * 1e3:.0f} ms; kept in {path})"
    )


def _place() -> Path:
    return user_cache() / "atlasbasset" / "convolutions.json"


@cache
def _fastest(threads: int) -> Convolution:
    path, key = _place(), _machine(threads)
    kept = _kept(path)
    if not _is_measured(kept.get(key)):
        kept[key] = convolution_seconds()
        _keep(path, kept)
        logger.info("measured float32 convolutions, seconds: %s; kept in %s", kept[key], path)
    return cast("Convolution", min(kept[key], key=kept[key].__getitem__))


def _is_measured(found: Any) -> bool:
    kinds = get_args(Convolution)
    return isinstance(found, dict) and all(isinstance(found.get(k), float) for k in kinds)


def _machine(threads: int) -> str:
    """Return what the measurement depends on."""
    from llvmlite import binding

    features = json.dumps(dict(binding.get_host_cpu_features()), sort_keys=True)
    names = ("ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "NUMBA_CPU_NAME")
    limits = (os.environ.get(name, "") for name in names)
    parts = (
        f"{platform.machine()}-{binding.get_host_cpu_name()}",
        hashlib.sha256(features.encode()).hexdigest()[:12],
        "-".join((torch.backends.cpu.get_cpu_capability(), *limits)),
        f"{threads} threads",
        *(f"{name} {_version(name)}" for name in ("torch", "numba", "atlasbasset")),
    )
    return ", ".join(parts)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "checkout"


def _kept(path: Path) -> dict[str, Any]:
    try:
        found = parsed_json(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _keep(path: Path, found: dict[str, Any]) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(found, indent=1))
        partial.replace(path)
    except OSError:
        pass  # no room for it: it is measured again next time

"""What every benchmark shares: interleaved repeats, CSV rows, what machine it was.

These machines are shared and noisy, so providers take turns (a, b, c, a, b, c, ...) and a row holds
the 20th, 50th and 80th percentile. Compare rows of one run with one another, never across runs.
"""

from __future__ import annotations

import copy
import csv
import json
import os
import platform
import subprocess
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from atlasbasset.core.compute import compute_dtype_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from atlasbasset.core.compute import Convolution
    from atlasbasset.core.trunk import Trunk

RESULTS = Path(__file__).parent / "results"
COLUMNS = (
    "benchmark", "provider", "metric", "unit", "x", "p20", "p50", "p80", "config",
    "hardware", "version", "commit", "time",
)  # fmt: skip


def take_turns(
    providers: Mapping[str, Callable[[], Any]], *, repeats: int, warm_up: int = 1
) -> dict[str, list[float]]:
    """Return seconds per call of every provider, `repeats` each, interleaved."""
    seconds: dict[str, list[float]] = {name: [] for name in providers}
    for repeat in range(warm_up + repeats):
        for name, call in providers.items():
            began = time.perf_counter()
            call()
            if repeat >= warm_up:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def row(
    benchmark: str,
    provider: str,
    metric: str,
    unit: str,
    x: float,
    values: list[float],
    **config: Any,
) -> dict[str, Any]:
    """Return one CSV row: percentiles of `values` measured at `x`."""
    p20, p50, p80 = np.percentile(values, [20, 50, 80])
    return {
        "benchmark": benchmark,
        "provider": provider,
        "metric": metric,
        "unit": unit,
        "x": x,
        "p20": f"{p20:.4g}",
        "p50": f"{p50:.4g}",
        "p80": f"{p80:.4g}",
        "config": json.dumps(config, sort_keys=True),
        "hardware": hardware(),
        "version": _version(),
        "commit": _commit(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def append(name: str, rows: list[dict[str, Any]]) -> Path:
    """Append rows to ``results/<name>.csv`` and print them."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.csv"
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerows(rows)
    for r in rows:
        print(
            f"{r['provider']:36} x={r['x']:<9} {r['p50']:>8} {r['unit']} [{r['p20']}, {r['p80']}]"
        )
    return path


def computations() -> list[tuple[str, torch.dtype, Convolution]]:
    """Return name, dtype and convolution of what is compared; bfloat16 where it is not emulated."""
    found: list[tuple[str, torch.dtype, Convolution]] = [
        ("fp32", torch.float32, "direct"),
        ("fp32 minimal", torch.float32, "minimal"),
    ]
    if compute_dtype_for("auto", torch.device("cpu")) == torch.bfloat16:
        found.append(("bf16", torch.bfloat16, "direct"))
    return found


def with_convolution(trunk: Trunk, convolution: Convolution) -> Trunk:
    """Return a copy of `trunk` that computes so."""
    own = copy.deepcopy(trunk)
    own.convolution = convolution
    return own


LIMITS = {
    "onednn_max_cpu_isa",
    "aten_cpu_capability",
    "mkl_enable_instructions",
    "numba_cpu_name",
}
"""Variables of the environment, as rows name them."""


def limits() -> dict[str, Any]:
    """Return the threads, and what the environment holds the instruction sets down to."""
    found = {
        name: os.environ[name.upper()] for name in sorted(LIMITS) if name.upper() in os.environ
    }
    return {"threads": torch.get_num_threads(), **found}


def hardware() -> str:
    """Return cores, CPU features that matter, and the GPU where there is one."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    flags = _cpu_flags()
    known = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
    features = [f for f in known if f in flags]
    return f"{os.cpu_count()} cores {platform.machine()} {' '.join(features)}"


def _cpu_flags() -> set[str]:
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return set()
    lines = [line for line in info.read_text().splitlines() if line.startswith("flags")]
    return set(lines[0].split()) if lines else set()


def _version() -> str:
    try:
        return version("atlasbasset")
    except PackageNotFoundError:
        return "checkout"


def _commit() -> str:
    """Return the commit of this checkout, wherever it is run from, marked when it was changed."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

"""`denoise`, or another job, in processes of its own, to be killed.

All is imported already when one starts.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable  # noqa: TC003 - of a value, too
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

import atlasbasset
from atlasbasset.verbs.shared import embed_peaks_work as peak_stage
from atlasstore.files import urls
from atlasstore.files.json_text import parsed_json
from atlasstore.files.sealed import unsealed
from atlasstore.resume import units
from atlasstore.resume.ledger import Ledger, partial_url
from forked import fork_server
from small_atlas import make_atlas, random_labels
from small_model import TINY, random_weights, write_model
from small_tables import small_tables

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

N, P = 96, 60
OPTIONS: dict[str, Any] = {"compute": "fp32", "dtype": "uint8"}
MAP: dict[str, Any] = {"compute": "fp32", "l2": 3.0}
JOBS: dict[str, Callable[..., object]] = {
    "denoise": partial(atlasbasset.denoise, **OPTIONS),
    "map": partial(atlasbasset.map_cells, **MAP),
}
Moment = Literal["before", "after"]
"""Of the receipt: all of the unit is written, but nobody knows; or its receipt is written too."""
Kill = tuple[str, Moment] | None
"""Beginning of the name of a receipt, and when to kill."""


def make_stores(folder: Path) -> tuple[str, str]:
    """Write a model and an atlas of random weights and labels; return their URLs."""
    rng = np.random.default_rng(8)
    codes = rng.integers(0, 5, (P, TINY.window_bp + 6), dtype=np.uint8)
    model = write_model(folder / "model", random_weights(rng, N))
    labels = random_labels(rng, 9, P)
    return model, make_atlas(folder / "atlas", labels, codes, min_blocks=len(labels))


def small_units(put: Callable[[Any, str, int], None] = setattr) -> None:
    """Cut the work into many units, so that a fault meets each kind of them.

    `put` is a MonkeyPatch's `setattr` where all is to be put back.
    """
    put(peak_stage, "UNIT_PEAKS", 32)
    small_tables(put, chunk_bytes=4 * P, shard_bytes=16 * P)  # of bytes, 16 cells: 6 shards


def run(
    job: str, stores: tuple[str, str], out: str, settings: dict[str, str], said: str, kill: Kill
) -> None:
    """Do a job in this process; write what goes wrong to the file `said`."""
    gc.freeze()  # collections, which the tested code asks for, leave out what came with the fork
    os.environ.update(settings)
    small_units()
    if kill is not None:
        kill_there(*kill)
    try:
        JOBS[job](*stores, out=out)
    except Exception as error:  # noqa: BLE001 - the test looks at it
        Path(said).write_text(f"{type(error).__name__}: {error}")
        raise SystemExit(1) from None


def kill_there(receipt: str, moment: Moment) -> None:
    """End this process by SIGKILL around the receipt of a step or a unit."""
    record, write = Ledger.record, units.write_receipts

    def killed_at(names: list[str], when: Moment) -> None:
        if moment == when and any(name.startswith(receipt) for name in names):
            os.kill(os.getpid(), signal.SIGKILL)

    def record_step(ledger: Ledger, step: str, row: Any) -> Any:
        killed_at([step], "before")
        found = record(ledger, step, row)
        killed_at([step], "after")
        return found

    def write_units(url: str, rows: list[Any]) -> str:
        names = [unit_name(url, index) for index, _, _ in rows]
        killed_at(names, "before")
        last = [at for at, name in enumerate(names, 1) if name.startswith(receipt)]
        found = write(url, rows[: last[0] if last else None])  # a batch may hold later units, too
        killed_at(names, "after")
        return found

    Ledger.record = record_step  # type: ignore[method-assign]
    units.write_receipts = write_units  # type: ignore[assignment]


def unit_name(stage_url: str, index: int) -> str:
    return f"{stage_url.rpartition('/')[2]}.{index:07d}"


def start(
    stores: tuple[str, str],
    out: str,
    said: Path,
    *,
    settings: dict[str, str] | None = None,
    kill: Kill = None,
    job: str = "denoise",
) -> BaseProcess:
    """Start `run` in a new process, which begins to work within milliseconds."""
    process = fork_server().Process(
        target=run, args=(job, stores, out, settings or {}, str(said), kill)
    )
    process.start()
    return process


def finish(process: BaseProcess, said: Path) -> str:
    """Wait for its end; return what went wrong, empty when nothing did."""
    process.join(timeout=200)
    assert process.exitcode in (0, 1), process.exitcode
    return said.read_text() if process.exitcode else ""


def receipts(out: str) -> set[str]:
    """Return the names of all steps and units that have a receipt."""
    ledger = urls.join(partial_url(out), "ledger")
    fs, root = urls.filesystem(ledger)
    fs.invalidate_cache()
    found = set()
    for path in fs.find(root):
        _, _, below = path.removeprefix(root).strip("/").partition("/")
        stage, _, file = below.rpartition("/")
        if file.startswith("."):  # a killed process's half file
            continue
        if not stage:
            found.add(file.removesuffix(".json"))
            continue
        content = parsed_json(unsealed(fs.cat_file(path), file))
        found |= {unit_name(stage, row[0]) for row in content}
    return found


def wait_killed(process: BaseProcess) -> None:
    process.join(timeout=200)
    assert process.exitcode == -signal.SIGKILL, process.exitcode


def shard_file(receipt: str) -> str | None:
    """Return the file of the shard that a receipt speaks of."""
    if not receipt.startswith("shards."):
        return None
    return f"X/c.{int(receipt.split('.')[1])}.0"

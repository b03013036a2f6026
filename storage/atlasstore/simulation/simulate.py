"""The verb `simulate`: an atlas with known answers in one folder.

The folder is built under a partial name next to the target and renamed when it is whole.
"""

from __future__ import annotations

import shutil
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

from atlasstore.errors import StoreExistsError, UserInputError
from atlasstore.events import Subscriber, ignore
from atlasstore.files import urls
from atlasstore.simulation.builtin_motifs import choose_motifs
from atlasstore.simulation.config import SimulationConfig
from atlasstore.simulation.folder import SimulationReport, write_simulation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["simulate"]


def simulate(
    out: str | Path,
    *,
    n_cells: int = 2000,
    n_peaks: int = 10000,
    n_cell_types: int = 8,
    motifs: str | None = None,
    n_motifs: int = 16,
    n_batches: int = 1,
    density: float = 0.05,
    depth_sd: float = 0.5,
    batch_effect: float = 0.3,
    batch_shift: float = 0.0,
    batch_shift_share: float = 0.2,
    batch_mix: float = 0.0,
    seed: int = 0,
    on_event: Subscriber = ignore,
) -> SimulationReport:
    """Make an atlas whose answers are known.

    Writes ``counts.h5ad`` (cells x peaks, csr, fragment counts; ``obs``: cell_type, batch, depth;
    ``var``: chrom, start, end), ``genome.fa``, ``motifs.meme``, ``peaks.bed`` and ``truth.json``
    (read it with `Truth.load`, whose module states the model). Memory is bounded whatever
    `n_cells` is, but for less than 0.4 KB a cell of ``obs``; counts cost time by the fragment.

    Parameters
    ----------
    out
        A local folder that does not exist yet.
    n_cells, n_peaks, n_cell_types, n_motifs, n_batches, density, depth_sd, seed
        See `SimulationConfig`.
    batch_effect, batch_shift, batch_shift_share, batch_mix
        See `SimulationConfig`.
    motifs
        Path or URL of a MEME file to draw motifs from; None is the built-in set.
    on_event
        Called with each `Progress`.

    Raises
    ------
    UserInputError
        On a dial out of its range, or an `out` that is not local.
    StoreExistsError
        When `out` exists.
    MotifError
        When the MEME file cannot be read or has too few usable motifs.
    """
    config = SimulationConfig(
        n_cells=n_cells,
        n_peaks=n_peaks,
        n_cell_types=n_cell_types,
        motifs=None if motifs is None else str(motifs),
        n_motifs=n_motifs,
        n_batches=n_batches,
        density=density,
        depth_sd=depth_sd,
        batch_effect=batch_effect,
        batch_shift=batch_shift,
        batch_shift_share=batch_shift_share,
        batch_mix=batch_mix,
        seed=seed,
    )
    target = _check_out(out)
    chosen = choose_motifs(config)
    with _appearing_whole(target) as folder:
        return write_simulation(folder, config, chosen, out=str(out), on_event=on_event)


def _check_out(out: str | Path) -> Path:
    if not urls.is_local(out):
        raise UserInputError(
            f"out is {out}; simulate writes to a local folder only, so give a path."
        )
    target = urls.local_path(out)
    if target.exists():
        raise StoreExistsError(f"{out} exists; choose another folder or remove it.")
    return target


@contextmanager
def _appearing_whole(target: Path) -> Iterator[Path]:
    """Give a folder beside `target` that takes its name at the end, or goes on an error."""
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        raise UserInputError(f"{partial.parent} cannot be written to ({error}).") from error
    try:
        yield partial
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise

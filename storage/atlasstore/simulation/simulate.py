"""The verb `simulate`: an atlas with known answers in one folder.

The folder is built under a partial name next to the target and renamed when it is whole.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from atlasstore.errors import StoreExistsError, UserInputError
from atlasstore.files import urls
from atlasstore.files.staging import staged_path
from atlasstore.plans import Plan
from atlasstore.simulation.builtin_motifs import choose_motifs
from atlasstore.simulation.config import SimulationConfig
from atlasstore.simulation.folder import SimulationReport, write_simulation
from atlasstore.text_units import count, size

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from atlasstore.events import Subscriber
    from atlasstore.genome.motifs import Motif
    from atlasstore.plans import Lines

__all__ = ["SimulatePlan", "plan_simulate", "simulate"]

_FRAGMENT_BYTES = 3  # a count in counts.h5ad: value and column, compressed
_FASTA_BYTES = 1.02  # a base and its share of a line end
_BP_PER_PEAK = 2500  # mean spacing of simulated peaks


@dataclass(frozen=True, eq=False, repr=False)
class SimulatePlan(Plan[SimulationReport]):
    """Checked dials of `simulate`, and estimated sizes; made by `plan_simulate`."""

    config: SimulationConfig
    motifs: Sequence[Motif]
    """Those that are planted."""
    out: str

    @property
    def title(self) -> str:
        """What would be done."""
        return f"Would simulate {self.out}"

    @property
    def genome_bp(self) -> int:
        """Length of the genome, about."""
        return self.config.n_peaks * _BP_PER_PEAK

    @property
    def n_open(self) -> int:
        """Pairs of cell and peak in which the peak is open, about."""
        return round(self.config.density * self.config.n_cells * self.config.n_peaks)

    @property
    def stored_bytes(self) -> int:
        """Size of the folder, about."""
        return round(self.n_open * _FRAGMENT_BYTES + self.genome_bp * _FASTA_BYTES)

    def lines(self) -> Lines:
        """Return cells, peaks, genome and bytes."""
        config = self.config
        return [
            ("cells", f"{count(config.n_cells)} of {config.n_cell_types} types"),
            ("peaks", count(config.n_peaks)),
            ("genome", f"about {count(self.genome_bp)} bp"),
            ("open", f"about {count(self.n_open)} pairs of cell and peak"),
            ("stored", f"about {size(self.stored_bytes)}"),
        ]

    def values(self) -> dict[str, Any]:
        """Return JSON values."""
        sizes = {"n_open": self.n_open, "stored_bytes": self.stored_bytes}
        return {**asdict(self.config), "out": self.out, **sizes}

    def _run(self, on_event: Subscriber) -> SimulationReport:
        target = _check_out(self.out)
        with staged_path(target) as folder:
            folder.mkdir()
            return write_simulation(
                folder, self.config, self.motifs, out=self.out, on_event=on_event
            )


def simulate(
    out: str | Path,
    *,
    n_cells: int = 2000,
    n_peaks: int = 10000,
    n_cell_types: int = 8,
    rare_types: int = 0,
    rare_share: float = 0.01,
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
    on_event: Subscriber | None = None,
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
    n_cells, n_peaks, n_cell_types, rare_types, rare_share, n_motifs, n_batches
        See `SimulationConfig`.
    density, depth_sd, seed
        See `SimulationConfig`.
    batch_effect, batch_shift, batch_shift_share, batch_mix
        See `SimulationConfig`.
    motifs
        Path or URL of a MEME file to draw motifs from; None is the built-in set.
    on_event
        Called with `Progress`; by default a bar is shown on a terminal or in a notebook.

    Examples
    --------
    >>> report = simulate("simulated", n_cells=500, n_peaks=2000, seed=1)  # doctest: +SKIP
    >>> report.n_open  # doctest: +SKIP

    Raises
    ------
    UserInputError
        On a dial out of its range, or an `out` that is not local.
    StoreExistsError
        When `out` exists.
    MotifError
        When the MEME file cannot be read or has too few usable motifs.
    """
    plan = plan_simulate(
        out,
        n_cells=n_cells,
        n_peaks=n_peaks,
        n_cell_types=n_cell_types,
        rare_types=rare_types,
        rare_share=rare_share,
        motifs=motifs,
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
    return plan.run(on_event=on_event)


def plan_simulate(
    out: str | Path,
    *,
    n_cells: int = 2000,
    n_peaks: int = 10000,
    n_cell_types: int = 8,
    rare_types: int = 0,
    rare_share: float = 0.01,
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
) -> SimulatePlan:
    """Plan `simulate`: check its dials and estimate its sizes; nothing is written.

    Parameters are those of `simulate`, and so are the errors that are raised.

    Examples
    --------
    >>> plan_simulate("simulated", n_cells=500).config.n_cells
    500
    """
    config = SimulationConfig(
        n_cells=n_cells,
        n_peaks=n_peaks,
        n_cell_types=n_cell_types,
        rare_types=rare_types,
        rare_share=rare_share,
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
    _check_out(out)
    return SimulatePlan(config, choose_motifs(config), str(out))


def _check_out(out: str | Path) -> Path:
    if not urls.is_local(out):
        raise UserInputError(
            f"out is {out}; simulate writes to a local folder only, so give a path."
        )
    target = urls.local_path(out)
    if target.exists():
        raise StoreExistsError(f"{out} exists; choose another folder or remove it.")
    return target

"""`discover`: new motifs in the scores of an ISM result, by TF-MoDISco (Shrikumar et al. 2018).

The normalised scores are what TF-MoDISco calls hypothetical contributions: what each base would add
to accessibility if it stood there. modisco-lite finds stretches (seqlets) that matter, clusters
them, and aligns each cluster into a pattern. Its settings are those of its own command.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasbasset.extras import needed
from atlasbasset.inference.groups import regrouped
from atlasstore.errors import UserInputError
from atlasstore.events import Notice, Progress
from atlasstore.files import urls
from atlasstore.files.staging import refuse_existing, staged
from atlasstore.genome.motifs import read_motifs, write_meme
from atlasstore.plans import Plan
from atlasstore.results.ism_result import IsmResult
from atlasstore.text_units import count
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from atlasbasset.inference.cell_labels import Obs
    from atlasstore.events import Subscriber
    from atlasstore.genome.motifs import Motif
    from atlasstore.plans import Lines

__all__ = ["DiscoverPlan", "DiscoverReport", "discover", "plan_discover"]

_STAGE = "reading scores"
_READ_REGIONS = 32
_CORE_BP, _FLANK_BP = 20, 5
_MIN_SEQLETS = 100
_SIGNS = ("pos_patterns", "neg_patterns")
_CLUSTERING = ("seqlets", "positive seqlets", "negative seqlets")
"""Steps of modisco-lite: the seqlets are extracted, those of either sign clustered; all but the
first by words of what it prints when the step begins."""


@dataclass(frozen=True, slots=True)
class DiscoverReport:
    """What was found."""

    folder: str
    """URL of the folder with ``patterns.h5``, ``patterns.meme`` and ``report/motifs.html``."""
    group: str
    n_regions: int
    patterns: dict[str, int]
    """Name of each pattern -> its seqlets; "pos" raise accessibility, "neg" lower it."""

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


@dataclass(frozen=True, eq=False, repr=False)
class DiscoverPlan(Plan[DiscoverReport]):
    """Checked input of `discover`; made by `plan_discover`."""

    result: IsmResult
    group: str
    column: NDArray[np.int64]
    """The group's, in the result."""
    out: str
    motifs: list[Motif]
    """Known ones, for the report."""
    max_seqlets: int
    notices: tuple[str, ...]
    """What is to be said of the input."""

    @property
    def title(self) -> str:
        """What would be done."""
        return f"Would discover motifs into {self.out}"

    def lines(self) -> Lines:
        """Return regions, group and seqlets."""
        result, known = self.result, self.motifs
        return [
            ("regions", f"{count(result.n_regions)} of {count(result.span_bp)} bp"),
            ("group", self.group),
            ("seqlets", f"at most {count(self.max_seqlets)} of each sign"),
            *(("note", notice) for notice in self.notices),
            *([("known motifs", count(len(known)))] if known else []),
        ]

    def values(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "out": self.out,
            "n_regions": self.result.n_regions,
            "span_bp": self.result.span_bp,
            "group": self.group,
        }

    def _run(self, on_event: Subscriber) -> DiscoverReport:
        result, out = self.result, self.out
        refuse_existing(out)
        for notice in self.notices:
            on_event(Notice(notice))
        onehot, scores = _read(result, self.column, on_event)
        positive, negative = _patterns(onehot, scores, self.max_seqlets, result, on_event)
        with tempfile.TemporaryDirectory() as made, staged(out) as place:
            known = self.motifs
            found = _write(Path(made), positive, negative, result.span_bp, known, on_event)
            for path in sorted(Path(made).rglob("*")):
                if path.is_file():
                    parts = path.relative_to(made).parts
                    urls.write_bytes(urls.join(place, *parts), path.read_bytes())
        return DiscoverReport(out, self.group, result.n_regions, found)


def discover(
    result: str | Path | IsmResult,
    *,
    group: str,
    out: str | Path,
    group_by: str | None = None,
    obs: Obs | None = None,
    motifs: str | Path | None = None,
    max_seqlets: int = 20_000,
    on_event: Subscriber | None = None,
) -> DiscoverReport:
    """Find motifs de novo in what a group's accessibility depends on.

    Parameters
    ----------
    result
        An ISM result of hundreds of regions or more, or its URL.
    group
        Name of a group of cells in it (or of a cell).
    out
        Path or URL of the folder to make: ``patterns.h5`` as modisco-lite writes it,
        ``patterns.meme`` with the patterns' base frequencies, and ``report/motifs.html``.
    group_by, obs
        Of a result of cells: a column of a table of cells (CSV, TSV or AnnData at a path or URL, or
        a pandas table) whose groups then stand in the place of the cells.
    motifs
        Path or URL of a MEME file; the report then shows the three closest to each pattern.
    max_seqlets
        Of each sign; the first are taken.
    on_event
        Called with `Progress` and `Notice`; by default a bar is shown on a terminal or in a
        notebook.

    Examples
    --------
    >>> report = discover("ism.zarr", group="B cell", out="patterns")  # doctest: +SKIP
    >>> report.patterns  # doctest: +SKIP
    {'pos.0': 812, 'pos.1': 330, 'neg.0': 155}

    Raises
    ------
    UserInputError
        The group is unknown, or regions and span are too few for 100 seqlets.
    MotifError
        The motifs cannot be read.
    MissingExtraError
        modisco-lite is not installed.
    StoreExistsError
        When something exists at `out`.
    """
    plan = plan_discover(
        result,
        group=group,
        out=out,
        group_by=group_by,
        obs=obs,
        motifs=motifs,
        max_seqlets=max_seqlets,
    )
    return plan.run(on_event=on_event)


def plan_discover(
    result: str | Path | IsmResult,
    *,
    group: str,
    out: str | Path,
    group_by: str | None = None,
    obs: Obs | None = None,
    motifs: str | Path | None = None,
    max_seqlets: int = 20_000,
) -> DiscoverPlan:
    """Plan `discover`: check its input; nothing is written.

    Parameters are those of `discover`, and so are the errors that are raised.

    Examples
    --------
    >>> print(plan_discover("ism.zarr", group="B cell", out="patterns"))  # doctest: +SKIP
    """
    refuse_existing(out)
    _modisco("tfmodisco")
    opened = result if isinstance(result, IsmResult) else IsmResult.open(result)
    opened, left_out = regrouped(opened, group_by, obs=obs)
    column = opened.columns([group])
    if max_seqlets <= _MIN_SEQLETS:
        raise UserInputError(f"max_seqlets must be above {_MIN_SEQLETS}, got {max_seqlets}.")
    room = max(0, opened.span_bp - 2 * _FLANK_BP) // _CORE_BP * opened.n_regions
    if room <= _MIN_SEQLETS:
        raise UserInputError(
            f"{opened.url} has {opened.n_regions} regions of {opened.span_bp} bp, with room for "
            f"{room} seqlets of {_CORE_BP} bp; more than {_MIN_SEQLETS} are needed: make a result "
            "of more regions or a wider --span."
        )
    known, renamed = ([], None) if motifs is None else read_motifs(motifs)
    notices = tuple(notice for notice in (renamed, left_out) if notice)
    return DiscoverPlan(opened, group, column, str(out), known, max_seqlets, notices)


def _read(
    result: IsmResult, column: NDArray[np.int64], on_event: Subscriber
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return one-hot bases and a group's scores, both float32 (R, span, 4)."""
    shape = (result.n_regions, result.span_bp, 4)
    onehot, scores = np.empty(shape, np.float32), np.empty(shape, np.float32)
    on_event(Progress(_STAGE, 0, result.n_regions, "regions"))
    for start, stop in runs(result.n_regions, _READ_REGIONS):
        onehot[start:stop] = result.codes(start, stop)[..., None] == np.arange(4)
        scores[start:stop] = result.scores(start, stop, column)[..., 0]
        on_event(Progress(_STAGE, stop, result.n_regions, "regions"))
    return onehot, scores


def _patterns(
    onehot: NDArray[np.float32],
    scores: NDArray[np.float32],
    max_seqlets: int,
    result: IsmResult,
    on_event: Subscriber,
) -> tuple[list[Any], list[Any]]:
    """Return the patterns that raise accessibility, and those that lower it."""
    with contextlib.redirect_stdout(_Clustering(on_event)) as clustering:
        found = _modisco("tfmodisco").TFMoDISco(
            onehot,
            scores,
            sliding_window_size=_CORE_BP,
            flank_size=_FLANK_BP,
            min_metacluster_size=_MIN_SEQLETS,
            max_seqlets_per_metacluster=max_seqlets,
            target_seqlet_fdr=0.05,
            n_leiden_runs=2,
            verbose=True,
        )
    clustering.reach(len(_CLUSTERING))
    positive, negative = (list(patterns or ()) for patterns in found)
    if not positive and not negative:
        raise UserInputError(
            f"no pattern was found in the {result.n_regions} regions of {result.url}: fewer than "
            f"{_MIN_SEQLETS} seqlets of either sign matter, or no {_CORE_BP} of them are alike; "
            "make a result of more regions."
        )
    return positive, negative


class _Clustering(io.StringIO):
    """Stands for standard output while modisco-lite says what it begins; tells how far it is."""

    def __init__(self, on_event: Subscriber) -> None:
        super().__init__()
        self._on_event = on_event
        self.reach(0)

    def write(self, text: str) -> int:
        """Tell the step that a line of modisco-lite's begins."""
        for n_done, begins in enumerate(_CLUSTERING[1:], 1):
            if begins in text:
                self.reach(n_done)
        return len(text)

    def reach(self, n_done: int) -> None:
        """Tell how many steps are done."""
        self._on_event(Progress("clustering seqlets", n_done, len(_CLUSTERING), "steps"))


def _write(
    folder: Path,
    positive: list[Any],
    negative: list[Any],
    span_bp: int,
    motifs: Sequence[Motif],
    on_event: Subscriber,
) -> dict[str, int]:
    """Write everything into an empty local folder; return pattern -> seqlets."""
    stored, database = folder / "patterns.h5", None
    _modisco("io").save_hdf5(str(stored), positive or None, negative or None, span_bp)
    frequencies = _modisco("util").MemeDataType.PFM
    meme = str(folder / "patterns.meme")
    _modisco("io").write_meme_from_h5(str(stored), frequencies, meme, is_quiet=True)
    if motifs:
        database = folder / "known.meme"
        write_meme(database, motifs)
    _report(stored, folder / "report", database, on_event)
    if database is not None:
        database.unlink()
    return {
        f"{sign.removesuffix('_patterns')}.{index}": len(pattern.seqlets)
        for sign, patterns in zip(_SIGNS, (positive, negative), strict=True)
        for index, pattern in enumerate(patterns)
    }


def _report(stored: Path, folder: Path, database: Path | None, on_event: Subscriber) -> None:
    """Write the report; modisco-lite prints, warns and leaves a file open."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore", ResourceWarning)
        warnings.simplefilter("always", UserWarning)
        _modisco("report").report_motifs(
            stored,
            folder,
            img_path_suffix="./",
            meme_motif_db=None if database is None else str(database),
            is_writing_tomtom_matrix=False,
            ttl=True,
        )
    for warning in caught:
        if issubclass(warning.category, UserWarning):
            on_event(Notice(str(warning.message)))


def _modisco(module: str) -> Any:
    return needed(f"modiscolite.{module}", extra="interpret", purpose="Discovering motifs")

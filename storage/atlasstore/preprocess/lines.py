"""What `preprocess` made or would make, as lines of what and value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasstore.text_units import count, share, size

if TYPE_CHECKING:
    from atlasstore.plans import Lines
    from atlasstore.preprocess._append_settings import AppendReport
    from atlasstore.preprocess.report import PreprocessReport

__all__ = ["append_lines", "preprocess_lines"]


def preprocess_lines(report: PreprocessReport) -> Lines:
    """Describe an atlas that was or would be made."""
    splits = ", ".join(f"{count(n)} {name}" for name, n in report.splits.items())
    about = "about " if report.dry_run else ""
    return [
        ("cells", f"{count(report.n_cells)} of {count(report.n_cells_in)}"),
        ("peaks", f"{count(report.n_peaks)} of {count(report.n_peaks_in)}: {splits}"),
        *_unplaced(report.n_peaks_unplaced),
        ("split", _split(report)),
        *_sequences(report),
        ("open", f"{count(report.n_positives)} pairs of cell and peak, {share(report.density)}"),
        ("blocks", f"{count(report.n_blocks)} of up to {count(report.block_cells)} cells"),
        ("samples", _samples(report.samples)),
        *_left_out(report.left_out),
        *(_plan(report) if report.dry_run else ()),
        ("stored", about + size(report.stored_bytes)),
    ]


def append_lines(report: AppendReport) -> Lines:
    """Describe what was added to an atlas."""
    return [
        ("cells added", f"{count(report.n_cells_added)} of {count(report.n_cells_in)}"),
        ("cells", count(report.n_cells)),
        ("open, added", f"{count(report.n_positives_added)} pairs of cell and peak"),
        ("blocks", count(report.n_blocks)),
        ("samples", _samples(report.samples)),
        *_left_out(report.left_out),
        *(_append_plan(report) if report.dry_run else ()),
    ]


def _append_plan(report: AppendReport) -> Lines:
    return [
        ("reading", f"{size(report.input_bytes)} of inputs, once"),
        ("memory", f"{size(report.peak_memory_bytes or 0)} at most"),
    ]


def _plan(report: PreprocessReport) -> Lines:
    work = report.work
    ranges = work.passes - 1
    return [
        ("reading", f"{size(work.input_bytes)} of inputs and genome, once"),
        ("scratch", f"about {size(work.scratch_bytes)} next to the atlas while it is written"),
        (
            "passes",
            f"{work.passes} over each block on scratch at most: to count, then "
            f"{count(ranges)} {'range' if ranges == 1 else 'ranges'} of peaks",
        ),
        ("workers", count(work.workers)),
        ("memory", f"{size(work.peak_memory_bytes)} at most, of {size(work.memory_bytes)}"),
    ]


def _unplaced(n_peaks: int) -> Lines:
    return [("left out", f"{count(n_peaks)} peaks outside the genome")] if n_peaks else []


def _split(report: PreprocessReport) -> str:
    found = report.held_out_overlap.items()
    shares = ", ".join(f"{share(part)} of {name}" for name, part in found)
    return f"{report.split}; windows that overlap training ones: {shares or 'none held out'}"


def _sequences(report: PreprocessReport) -> Lines:
    looks, n_unknown = report.peak_check, report.n_unknown_windows
    rows = []
    if looks.count_correlation is not None:
        counts = f"r {looks.count_correlation:.2f} of 6-mers with counts"
        content = f"GC and CpG against 10 kb away: auROC {_two(looks.gc_auroc_shifted)}"
        rows.append(("sequences", f"{counts}; {content} and {_two(looks.cpg_auroc_shifted)}"))
    if n_unknown:
        rows.append(("unknown", f"{count(n_unknown)} windows without any known base"))
    return rows


def _two(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"


def _samples(samples: dict[str, int]) -> str:
    return ", ".join(f"{name} {count(n)}" for name, n in samples.items())


def _left_out(left_out: dict[str, str]) -> Lines:
    return [("left out", f"{name}: {why}") for name, why in left_out.items()]

"""What `preprocess` sees of peaks in the wrong place, or in another order than their counts.

    python benchmarks/wrong_peaks.py COUNTS GENOME [--shifts 1 500 10000 100000] [--samples 3]
        [--inside CHROM:START-END]

COUNTS is whatever `preprocess` takes, with peaks that are right. They are looked at as they are
(in as many samples as asked for), moved by each of the shifts, and with the counts of other peaks:
in random order, and each peak with those of the one before. A shift is what another assembly comes
to in a region without insertions: hg19's coordinates of chr22:37.2-40.6 Mb are 396 kb further on
than hg38's. `--inside` leaves out the peaks that a shift takes outside, where a genome is known in
part only. A row for each, with the sentence that would be said.
"""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any

import harness
import numpy as np

from atlasstore.genome.fasta import Genome
from atlasstore.genome.peak_check import check_sample, what_is_wrong
from atlasstore.inputs import open_source

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from numpy.typing import NDArray

_WINDOW_BP = 1344


def _read(url: str) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Return the peaks and in how many cells each is open."""
    source = open_source(url)
    try:
        counts = source.read_cells(0, len(source.obs))
        return source.peaks, np.asarray((counts > 0).sum(0)).ravel().astype(np.int64)
    finally:
        source.close()


def _trials(
    n_open: NDArray[np.int64], shifts: list[int], n_samples: int
) -> Iterator[tuple[str, int, int, NDArray[np.int64]]]:
    """Yield what is done, the seed of the sample, the shift in bp, and each peak's count."""
    for seed in range(n_samples):
        yield "as they are", seed, 0, n_open
    for shift in shifts:
        yield f"{shift:,} bp further on", 0, shift, n_open
    order = np.random.default_rng(1).permutation(len(n_open))
    yield "counts in another order", 0, 0, n_open[order]
    yield "counts one peak further on", 0, 0, np.roll(n_open, 1)


def _inside(peaks: pd.DataFrame, region: str | None, shift: int) -> NDArray[np.bool_]:
    if region is None:
        return np.ones(len(peaks), bool)
    chrom, start, stop = re.split("[:-]", region.replace(",", ""))
    first, last = peaks["start"] + shift - _WINDOW_BP, peaks["end"] + shift + _WINDOW_BP
    is_there = (peaks["chrom"].astype(str) == chrom) & (first >= int(start)) & (last <= int(stop))
    return is_there.to_numpy()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("counts")
    parser.add_argument("genome")
    parser.add_argument("--shifts", type=int, nargs="+", default=[1, 500, 10_000, 100_000])
    parser.add_argument("--samples", type=int, default=3)
    parser.add_argument("--inside")
    args = parser.parse_args()
    peaks, n_open = _read(args.counts)
    name = args.counts.rpartition("/")[2]
    rows: list[dict[str, Any]] = []
    with Genome.open(args.genome) as genome:
        for done, seed, shift, counts in _trials(n_open, args.shifts, args.samples):
            kept = _inside(peaks, args.inside, shift)
            moved = peaks[kept]
            middles = (moved["start"] + moved["end"]).to_numpy(np.int64) // 2 + shift
            found = check_sample(
                genome,
                moved["chrom"].astype(str).tolist(),
                middles,
                counts[kept],
                window_bp=_WINDOW_BP,
                rng=np.random.default_rng(seed),
            )
            said = (what_is_wrong(found) or "nothing").partition(":")[0]
            print(
                f"{done:28} {found.n_judged:6,} peaks  GC {found.gc_auroc_shifted or np.nan:.2f}  "
                f"CpG {found.cpg_auroc_shifted or np.nan:.2f}  "
                f"r {found.count_correlation or np.nan:5.2f}  said: {said}",
                flush=True,
            )
            about = {"done": done, "seed": seed, "n_peaks": found.n_judged, "said": said}
            rows += [
                harness.row("wrong_peaks", name, label, "", shift, [value], **about)
                for label in ("gc_auroc_shifted", "cpg_auroc_shifted", "count_correlation")
                if (value := getattr(found, label)) is not None
            ]
    print(harness.append("wrong_peaks", rows))


if __name__ == "__main__":
    main()

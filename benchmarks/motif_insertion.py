"""Motifs written over the centre of shuffled sequences: incremental against full passes.

A unit of the `motifs` verb: the backgrounds' reference passes, then every background with every
motif; and "insertions alone", which is what many motifs come near to. The trunk is the published
one with normalisations like a trained model's. Rows: inserted sequences per second, and their ratio
to full passes in the same turn, which the arithmetic bounds (printed).
`--profile` prints where the time of the incremental unit goes instead.

    python benchmarks/motif_insertion.py [--motifs MEME] [--repeats 5] [--profile]
"""

from __future__ import annotations

import argparse
from collections import Counter
from typing import TYPE_CHECKING

import harness
import numpy as np
import torch
from mutagenesis import trained_like

from atlasbasset.core.augment import one_hot_input
from atlasbasset.core.config import TrunkConfig
from atlasbasset.core.cost import change_flops, pass_flops
from atlasbasset.core.incremental import Incremental
from atlasbasset.verbs.motifs.insertion import insertion_start, motif_words
from atlasstore.genome.motifs import read_meme
from atlasstore.simulation.builtin_motifs import builtin_motifs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from atlasbasset.core.trunk import Trunk
    from atlasstore.genome.motifs import Motif

WINDOW, BATCH = 1344, 128


def words_by_width(motifs: Sequence[Motif], n_backgrounds: int) -> list[tuple[int, Tensor]]:
    """Return (where they begin, uint8 (backgrounds, motifs of that width, width))."""
    widths = Counter(motif.width for motif in motifs)
    return [
        (
            insertion_start(WINDOW, width),
            torch.from_numpy(
                np.stack(
                    [motif_words(m, n_backgrounds, seed=0) for m in motifs if m.width == width], 1
                )
            ),
        )
        for width in sorted(widths)
    ]


def incremental(
    engine: Incremental, codes_BL: Tensor, words: list[tuple[int, Tensor]], *, kept: bool
) -> Callable[[], list[Tensor]]:
    """Return the unit; with the reference passes made beforehand when `kept`."""
    before = engine.reference(codes_BL)

    def call() -> list[Tensor]:
        reference = before if kept else engine.reference(codes_BL)
        found = []
        for start, each in words:
            n, n_motifs, width = each.shape
            rows = torch.arange(n).repeat_interleave(n_motifs)
            starts = torch.full_like(rows, start)
            found.append(engine.embed(reference, rows, starts, each.reshape(-1, width)))
        return found

    return call


def full_passes(
    trunk: Trunk, codes_BL: Tensor, words: list[tuple[int, Tensor]], dtype: torch.dtype
) -> Callable[[], list[Tensor]]:
    def call() -> list[Tensor]:
        found = []
        for start, each in words:
            n_motifs, width = each.shape[1:]
            inserted = codes_BL.repeat_interleave(n_motifs, 0)
            inserted[:, start : start + width] = each.reshape(-1, width)
            parts = [passed(trunk, part, dtype) for part in inserted.split(BATCH)]
            found.append(torch.cat(parts))
        passed(trunk, codes_BL, dtype)
        return found

    return call


@torch.no_grad()
def passed(trunk: Trunk, codes_BL: Tensor, dtype: torch.dtype) -> Tensor:
    found: Tensor = trunk(one_hot_input(codes_BL, dtype), compute_dtype=dtype)
    return found


def arithmetic_ratios(motifs: Sequence[Motif]) -> tuple[float, float]:
    """Return how many times fewer operations are needed: by the unit, by insertions alone."""
    config = TrunkConfig()
    widths = [motif.width for motif in motifs]
    whole = pass_flops(config)
    changes = sum(change_flops(config, insertion_start(WINDOW, w), w) for w in widths)
    return (1 + len(motifs)) * whole / (whole + changes), len(motifs) * whole / changes


def profile(calls: dict[str, Callable[[], list[Tensor]]]) -> None:
    """Print the operators that take most of the time of the incremental unit."""
    for name, call in calls.items():
        if name.startswith("incremental"):
            call()
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
                call()
            print(name)
            print(seen.key_averages().table(sort_by="self_cpu_time_total", row_limit=12))


def rows(seconds: dict[str, list[float]], n: int, **config: object) -> list[dict[str, object]]:
    speeds = [
        harness.row(
            "motif_insertion", name, "speed", "sequences/s", n, [n / s for s in series], **config
        )
        for name, series in seconds.items()
    ]
    ratios = [
        harness.row(
            "motif_insertion", f"{kind} over full passes, {name}", "ratio", "times", n,
            [full / ours for full, ours in zip(
                seconds[f"full passes, {name}"], seconds[f"{kind}, {name}"], strict=True
            )],
            **config,
        )
        for kind in ("incremental", "insertions alone")
        for name, *_ in harness.computations()
    ]  # fmt: skip
    return [*speeds, *ratios]


def main() -> None:
    """Measure and append rows to results/motif_insertion.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--motifs", help="MEME file; the built-in motifs when absent")
    parser.add_argument("--backgrounds", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    motifs = read_meme(args.motifs) if args.motifs else builtin_motifs()
    trunk, rng = trained_like(), np.random.default_rng(0)
    codes = torch.from_numpy(rng.integers(0, 4, (args.backgrounds, WINDOW), dtype=np.uint8))
    words = words_by_width(motifs, args.backgrounds)
    calls = {}
    for name, dtype, convolution in harness.computations():
        own = harness.with_convolution(trunk, convolution)
        engine = Incremental(own, compute_dtype=dtype)
        calls[f"incremental, {name}"] = incremental(engine, codes, words, kept=False)
        calls[f"insertions alone, {name}"] = incremental(engine, codes, words, kept=True)
        calls[f"full passes, {name}"] = full_passes(own, codes, words, dtype)
        ours, full = calls[f"incremental, {name}"](), calls[f"full passes, {name}"]()
        gap = max(float((a - b).abs().max()) for a, b in zip(ours, full, strict=True))
        print(f"largest difference from full passes in {name}: {gap:.1e}")
    if args.profile:
        profile(calls)
        return
    seconds = harness.take_turns(calls, repeats=args.repeats)
    unit, alone = arithmetic_ratios(motifs)
    print(f"the arithmetic allows {unit:.1f} times, {alone:.1f} for insertions alone")
    config = {
        "backgrounds": args.backgrounds,
        "motifs": len(motifs),
        "repeats": args.repeats,
        **harness.limits(),
        "arithmetic_ratio": round(unit, 2),
        "arithmetic_ratio_alone": round(alone, 2),
    }
    harness.append("motif_insertion", rows(seconds, args.backgrounds * len(motifs), **config))


if __name__ == "__main__":
    main()

"""Effects of variants: incremental evaluation against full passes, by kind of variant.

    python benchmarks/variants.py genome.fa [--model model.zarr] [--variants 256] [--repeats 5]

Random variants of the genome; without a model, a trunk of the published size with random weights
(the cost does not depend on them). Reading the genome is part of neither.
"""

from __future__ import annotations

import argparse
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import harness
import numpy as np
import torch

from atlasbasset.core.config import TrunkConfig
from atlasbasset.core.trunk import Trunk
from atlasbasset.inference.model import load_model
from atlasbasset.verbs.variants.alleles import VariantEngine, _batches, allele_of
from atlasstore.genome.fasta import Genome
from atlasstore.genome.variants import Variant

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS = ("substitution", "three alleles", "insertion", "deletion")
MOST_BP = 10


def random_trunk() -> Any:
    """Return what `VariantEngine` needs of a model."""
    config = TrunkConfig()
    trunk = Trunk.initialised(config, seed=0).eval().requires_grad_(requires_grad=False)
    return SimpleNamespace(trunk=trunk, compute_dtype=torch.float32, window_bp=config.window_bp)


def random_variants(kind: str, genome: Genome, n: int, rng: np.random.Generator) -> list[Variant]:
    """Return about `n` variants of one kind at random places of the longest chromosome."""
    chrom = max(genome.chrom_lengths, key=lambda name: genome.chrom_lengths[name])
    found: list[Variant] = []
    while len(found) < n:
        pos = int(rng.integers(2000, genome.chrom_lengths[chrom] - 2000))
        size = int(rng.integers(1, MOST_BP + 1))
        ref = "".join("ACGTN"[code] for code in genome.codes(chrom, pos - 1, pos + size))
        others = [base for base in "ACGT" if base != ref[0]]
        pairs = {
            "substitution": [(ref[0], others[0])],
            "three alleles": [(ref[0], base) for base in others],
            "insertion": [(ref[0], ref[0] + "".join(rng.choice(list("ACGT"), size)))],
            "deletion": [(ref, ref[0])],
        }[kind]
        found += [Variant(chrom, pos, ".", *pair) for pair in pairs if "N" not in ref]
    return found


def providers(
    engine: VariantEngine, variants: list[Variant], genome: Genome
) -> dict[str, Callable[[], object]]:
    """Return both ways of evaluating the same variants, windows read beforehand."""
    alleles = [allele_of(v, genome, window_bp=engine.window_bp) for v in variants]
    batches = [(codes, put) for _, codes, put in _batches(alleles, genome, engine.window_bp)]
    return {
        "incremental": lambda: [engine.incremental(*batch) for batch in batches],
        "full passes": lambda: [engine.full_passes(*batch) for batch in batches],
    }


def main() -> None:
    """Measure and append rows to results/variants.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("genome")
    parser.add_argument("--model")
    parser.add_argument("--variants", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    model = load_model(args.model) if args.model else random_trunk()
    engine, rng = VariantEngine(model), np.random.default_rng(0)
    rows = []
    with Genome.open(args.genome) as genome:
        for kind in KINDS:
            variants = random_variants(kind, genome, args.variants, rng)
            calls = providers(engine, variants, genome)
            for name, seconds in harness.take_turns(calls, repeats=args.repeats).items():
                each = [1000 * value / len(variants) for value in seconds]
                config = {"kind": kind, "threads": torch.get_num_threads()}
                rows.append(
                    harness.row(
                        "variants", f"{name}, {kind}", "time per variant", "ms", args.variants,
                        each, **config,
                    )
                )  # fmt: skip
    harness.append("variants", rows)


if __name__ == "__main__":
    main()

"""All 4,032 substitutions of a window: incremental, full passes, tangermeme on the same network.

The published architecture with normalisations like a trained model's. tangermeme computes the plain
PyTorch form of the same weights (its effects are checked against ours), naively (`fast=False`) and
by its own incremental evaluation (`fast=True`, which it leaves for full passes where it finds no
gain). Rows: substitutions per second, all providers in turn.

    python benchmarks/mutagenesis.py [--repeats 3] [--windows 1]
"""

from __future__ import annotations

import argparse
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING

import harness
import torch
from peers import PlainScBasset

from atlasbasset.core.augment import one_hot_input
from atlasbasset.core.config import TrunkConfig
from atlasbasset.core.incremental import Incremental, substitution_effects
from atlasbasset.core.trunk import BatchNorm, Trunk

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

BATCH = 128


def trained_like() -> Trunk:
    """Return a trunk whose normalisations are not those of a fresh one."""
    trunk = Trunk.initialised(TrunkConfig(), seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for norm in (m for m in trunk.modules() if isinstance(m, BatchNorm)):
            norm.running_mean.normal_(0, 0.1, generator=generator)
            norm.running_var.uniform_(0.5, 2, generator=generator)
            norm.gamma.uniform_(0.5, 1.5, generator=generator)
            norm.beta.normal_(0, 0.1, generator=generator)
    trunk.eval().requires_grad_(requires_grad=False)
    return trunk


def plain_form(trunk: Trunk) -> PlainScBasset:
    """Return the same network in torch's own layers, ending with the embedding."""
    plain = PlainScBasset(1)
    plain.cells = torch.nn.Identity()
    norms = [stage.norm for stage in trunk.stages()] + [trunk.bottleneck.norm]
    with torch.no_grad():
        for convolution, stage in zip(plain.convolutions, trunk.stages(), strict=True):
            convolution.weight.copy_(stage.weight)
        plain.dense.weight.copy_(trunk.bottleneck.weight)
        for theirs, ours in zip([*plain.norms, plain.dense_norm], norms, strict=True):
            theirs.weight.copy_(ours.gamma)
            theirs.bias.copy_(ours.beta)
            theirs.running_mean.copy_(ours.running_mean)
            theirs.running_var.copy_(ours.running_var)
    return plain.eval().requires_grad_(requires_grad=False)


def mutants(codes_BL: Tensor) -> Tensor:
    """Return every window with one base replaced, (3 B L, L)."""
    bases = torch.arange(4, dtype=torch.uint8)
    rows, places, put = (codes_BL[:, :, None] != bases).nonzero(as_tuple=True)
    found = codes_BL[rows]
    found[torch.arange(len(rows)), places] = bases[put]
    return found


def full_passes(trunk: Trunk, codes_BL: Tensor, dtype: torch.dtype) -> Callable[[], None]:
    def call() -> None:
        for part in mutants(codes_BL).split(BATCH):
            with torch.no_grad():
                trunk(one_hot_input(part, dtype), compute_dtype=dtype)

    return call


def tangermeme(plain: PlainScBasset, codes_BL: Tensor, *, fast: bool) -> Callable[[], Tensor]:
    from tangermeme.saturation_mutagenesis import saturation_mutagenesis

    x = one_hot_input(codes_BL).permute(0, 2, 1).contiguous()

    def call() -> Tensor:
        made = saturation_mutagenesis(
            plain, x, batch_size=BATCH, device="cpu", raw_outputs=True, fast=fast
        )
        return made.y_hat - made.y0[:, None, None]

    return call


def check(trunk: Trunk, plain: PlainScBasset) -> float:
    """Return the largest difference of our effects from those of full passes of the plain form."""
    codes = torch.randint(0, 4, (1, 1344), dtype=torch.uint8)
    with torch.no_grad():
        x = one_hot_input(torch.cat([codes, mutants(codes)[::64]])).permute(0, 2, 1)
        h = plain(x)
    ours = substitution_effects(Incremental(trunk), codes, start=0, stop=1344)[0]
    is_other = codes[0, :, None] != torch.arange(4)
    return float((ours[is_other][::64] - (h[1:] - h[0])).abs().max())


def main() -> None:
    """Measure and append rows to results/mutagenesis.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--windows", type=int, default=1)
    parser.add_argument("--without-tangermeme", action="store_true")
    parser.add_argument("--without-full-passes", action="store_true")
    args = parser.parse_args()
    trunk = trained_like()
    plain = plain_form(trunk)
    print(f"largest difference from the plain form: {check(trunk, plain):.1e}")
    codes = torch.randint(0, 4, (args.windows, 1344), dtype=torch.uint8)
    providers: dict[str, Callable[[], object]] = {}
    for name, dtype, convolution in harness.computations():
        own = harness.with_convolution(trunk, convolution)
        engine = Incremental(own, compute_dtype=dtype)
        providers[f"incremental, {name}"] = lambda engine=engine: substitution_effects(
            engine, codes, start=0, stop=1344
        )
        if args.without_full_passes:
            continue
        providers[f"full passes, {name}"] = full_passes(own, codes, dtype)
    if find_spec("tangermeme") and not args.without_tangermeme:
        providers["tangermeme naive, fp32"] = tangermeme(plain, codes, fast=False)
        providers["tangermeme fast, fp32"] = tangermeme(plain, codes, fast=True)
    began = time.perf_counter()
    seconds = harness.take_turns(providers, repeats=args.repeats)
    print(f"measured in {time.perf_counter() - began:.0f} s")
    n = 3 * 1344 * args.windows
    harness.append(
        "mutagenesis",
        [
            harness.row(
                "mutagenesis", name, "speed", "substitutions/s", args.windows,
                [n / s for s in series], repeats=args.repeats, batch=BATCH, **harness.limits(),
            )
            for name, series in seconds.items()
        ],
    )  # fmt: skip


if __name__ == "__main__":
    main()

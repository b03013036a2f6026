"""What a training worker holds, part by part and phase by phase, in bytes: integers alone.

Tables are estimated from their shapes. What shapes do not give (the process itself, activations)
was measured; docs/memory.md has the figures and how to take them again. Sums over a set of peaks
are taken as one and a half times the mean: single peaks differ manifold in their number of open
cells, but sums of 128 of them by less than a fifth (one standard deviation).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

from atlasbasset.core.convolution import channel_multiple
from atlasbasset.core.inference import EMBED_BATCH
from atlasbasset.core.newton import working_bytes
from atlasbasset.core.trunk import Trunk
from atlasbasset.engine.cell_sampling import CellSampling
from atlasbasset.engine.labels.host import READ_PEAKS, TILE_POSITIVES
from atlasbasset.engine.peak_deviations import deviating_bytes
from atlasbasset.engine.solving import SOLVE_CELLS
from atlasbasset.engine.svd_start import OVERSAMPLING, SAMPLE_POSITIVES
from atlasstore.zarrio.blocks import assign_blocks

if TYPE_CHECKING:
    from atlasbasset.core.config import TrunkConfig
    from atlasbasset.engine.config import TrainConfig
    from atlasbasset.engine.memory.places import CodePlace, LabelPlace
    from atlasstore.atlas.atlas import Atlas

__all__ = ["Layout", "Part", "Share", "TrainingSizes", "held_parts", "phases"]

_FLOAT, _DOUBLE = 4, 8
_ADAM = 12  # a float32 parameter and its two moments
_PAIR = 16  # an open pair of a batch: cell and row, int64
_MAKING_PAIR = 64  # the same while it is made: picked, moved, sorted
_MATRIX_PAIR = 40  # an open pair of a tile of labels as scipy takes it, temporaries included

_PROCESS = 900_000_000  # Python, torch, zarr, numba and its compiled passes
_GPU_PROCESS = 2_500_000_000  # the same with CUDA's libraries
_GPU_CONTEXT = 600_000_000  # of GPU memory: context, libraries' workspaces
_CELL_NAME = 128  # a row of obs: its name and a few columns
_READING = 128 << 20  # shards and their pieces while the store is read
_SORT_PAIR = 24  # a sampled (peak, cell) while auROC is taken: logits, labels, all workers' copies

_STEP_ELEMENT = {"fused": {2: 5, 4: 10}, "plain": {2: 18, 4: 17}}
"""Bytes of a training step per convolved value, by the passes after a convolution (fused on the
CPU, plain torch elsewhere) and the bytes of a value."""
_EMBED_ELEMENT = {"fused": {2: 2, 4: 4}, "plain": {2: 5, 4: 6}}
"""The same without gradients."""


class Part(NamedTuple):
    """A part of what a worker holds, or what a phase needs in addition."""

    name: str
    ram_bytes: int
    device_bytes: int = 0


class Layout(NamedTuple):
    """Where labels and sequences are."""

    labels: LabelPlace
    codes: CodePlace
    group_peaks: int
    """Peaks whose labels are together in memory when they are streamed; 0 for all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSizes:
    """Everything about a run that its memory depends on."""

    n_peaks: int
    n_train_peaks: int
    stored_bp: int
    """Bases stored of a peak, L + 2 flank."""
    block_cells: tuple[int, ...]
    block_positives: tuple[int, ...]
    workers: int
    batch_size: int
    cells_per_step: int
    """0 for all."""
    n_parameters: int
    """Of the trunk."""
    n_convolved: int
    """Values that the trunk's convolutions make of one sequence, padded channels included."""
    embedding_dim: int
    n_batches: int
    compute_bytes: int
    """Of a convolved value: 2 (bf16) or 4 (fp32)."""
    average: bool
    """Whether an averaged trunk is kept."""
    svd_start: bool
    solves: bool
    """Whether the cell layer is solved exactly at any time."""
    auroc_pairs: int
    """Sampled peaks times sampled cells of the auROC."""
    group_peaks: int | None = None
    """As in `Layout`, where it is settled already; None to let it be chosen."""
    deviates: bool = False
    """Whether peaks are solved in turn with the cells."""

    @classmethod
    def of(
        cls,
        atlas: Atlas,
        config: TrainConfig,
        *,
        workers: int,
        compute_dtype: torch.dtype,
        begun: bool = False,
    ) -> TrainingSizes:
        """Return the sizes of training on `atlas`.

        `config.group_peaks` 0 is left to be chosen, unless the run was started with it.
        """
        n_parameters, n_convolved = _trunk_sizes(config.trunk, compute_dtype)
        sampled = min(config.n_auroc_peaks, atlas.n_peaks) * min(
            config.n_auroc_cells, atlas.n_cells
        )
        return cls(
            n_peaks=atlas.n_peaks,
            n_train_peaks=len(atlas.peak_rows("train")),
            stored_bp=atlas.window_bp + 2 * atlas.flank_bp,
            block_cells=tuple(block.n_cells for block in atlas.blocks),
            block_positives=atlas.block_positives,
            workers=workers,
            batch_size=config.batch_size,
            cells_per_step=config.cells_per_step,
            n_parameters=n_parameters,
            n_convolved=n_convolved,
            embedding_dim=config.trunk.embedding_dim,
            n_batches=0 if config.batch_key is None else int(atlas.obs[config.batch_key].nunique()),
            compute_bytes=compute_dtype.itemsize,
            average=config.average > 0,
            svd_start=config.cell_start == "svd",
            solves=config.final_solve or config.solve_every > 0 or config.cell_start == "solve",
            auroc_pairs=sampled,
            group_peaks=config.group_peaks if begun else config.group_peaks or None,
            deviates=config.final_solve and config.peak_deviations,
        )

    @property
    def n_cells(self) -> int:
        """N over all workers."""
        return sum(self.block_cells)

    @property
    def table_width(self) -> int:
        """Numbers of a cell: its embedding and intercept."""
        return self.embedding_dim + 1


def _trunk_sizes(config: TrunkConfig, compute_dtype: torch.dtype) -> tuple[int, int]:
    """Return (parameters, convolved values of one sequence) of a trunk that is not made."""
    with torch.device("meta"):
        trunk = Trunk(config)
    length, convolved, multiple = config.window_bp, 0, channel_multiple(compute_dtype)
    for stage in trunk.stages():
        filters = stage.weight.shape[0]
        convolved += length * (filters + -filters % multiple)
        length //= stage.pool
    return sum(p.numel() for p in trunk.parameters()), convolved


@dataclass(frozen=True, slots=True)
class Share:
    """The most that any one worker has of each: no worker has more."""

    n_cells: int
    n_positives: int
    n_blocks: int
    block_positives: int
    """Of its fullest block."""

    @classmethod
    def of(cls, sizes: TrainingSizes) -> Share:
        """Return the bound for `sizes.workers` workers."""
        ranks = assign_blocks(sizes.block_positives, sizes.workers)
        return cls(
            n_cells=max(sum(sizes.block_cells[i] for i in rank) for rank in ranks),
            n_positives=max(sum(sizes.block_positives[i] for i in rank) for rank in ranks),
            n_blocks=max(len(rank) for rank in ranks),
            block_positives=max(sizes.block_positives),
        )

    def positives_of(self, n_rows: int, sizes: TrainingSizes) -> int:
        """Return the open pairs of some peaks, half more than the mean gives."""
        mean = _ceil(self.n_positives * n_rows, sizes.n_peaks)
        return min(self.n_positives, mean * 3 // 2)


def held_parts(sizes: TrainingSizes, share: Share, layout: Layout, *, gpu: bool) -> list[Part]:
    """Return what a worker holds from beginning to end."""
    table = sizes.table_width * share.n_cells
    batches = 2 * 8 * share.n_cells if sizes.n_batches else 0
    copies = _ADAM + _FLOAT * (1 + sizes.average)
    flat = 2 * _FLOAT if sizes.workers > 1 else 0  # gradients in one message
    return [
        Part("process", *_process(sizes, gpu=gpu)),
        _on("sequences", sizes.n_peaks * sizes.stored_bp, gpu=layout.codes == "device"),
        _labels(sizes, share, layout),
        _on("cell table, Adam", _ADAM * table + batches, gpu=gpu),
        Part("checkpoint copy", _ADAM * table + 2 * copies * sizes.n_parameters),
        _on("trunk, Adam", (copies + flat) * sizes.n_parameters, gpu=gpu),
    ]


def _process(sizes: TrainingSizes, *, gpu: bool) -> tuple[int, int]:
    names = _CELL_NAME * sizes.n_cells
    return (_GPU_PROCESS + names, _GPU_CONTEXT) if gpu else (_PROCESS + names, 0)


def _labels(sizes: TrainingSizes, share: Share, layout: Layout) -> Part:
    starts = 8 * (sizes.n_peaks + 1) * share.n_blocks
    if layout.labels == "ram":
        return Part("labels", 2 * share.n_positives + starts)
    if layout.labels == "device":
        return Part("labels", starts, 2 * share.n_positives + starts)
    rows = min(layout.group_peaks, sizes.n_train_peaks)
    group = 2 * share.positives_of(rows, sizes) + 8 * (rows + 1) * share.n_blocks
    # two groups, the one in use and the next; a block of a third is read, cut and joined
    block = min(_ceil(share.block_positives * rows, sizes.n_peaks) * 3 // 2, share.block_positives)
    return Part("labels", 2 * group + 3 * 2 * block + _READING)


def phases(sizes: TrainingSizes, share: Share, layout: Layout, *, gpu: bool) -> list[Part]:
    """Return what each phase needs in addition; no two come together."""
    found = [
        _loading(sizes, share, layout),
        _step(sizes, share, layout, gpu=gpu),
        _measuring(sizes, share, layout, gpu=gpu),
    ]
    if sizes.svd_start:
        found.append(_svd(sizes, share, layout))
    if sizes.solves:
        found.append(_solving(sizes, share, layout, gpu=gpu))
    return found


def _loading(sizes: TrainingSizes, share: Share, layout: Layout) -> Part:
    """Estimate sequences, which arrive one-hot, and labels that stay, block by block."""
    codes = 8 * READ_PEAKS * sizes.stored_bp
    if layout.codes == "device":
        codes += sizes.n_peaks * sizes.stored_bp
    block = 0 if layout.labels == "streamed" else 4 * share.block_positives + 24 * sizes.n_peaks
    return Part("loading", max(codes, block) + _READING)


def _step(sizes: TrainingSizes, share: Share, layout: Layout, *, gpu: bool) -> Part:
    """Estimate activations, gradients of cells, positives of this batch and the next."""
    rows, width = _ceil(sizes.batch_size, sizes.workers), sizes.table_width
    n_met = _cells_met(sizes, share)
    sampled = n_met < share.n_cells
    pairs = share.positives_of(sizes.batch_size, sizes)
    compute = rows * _activations(sizes, _STEP_ELEMENT, gpu=gpu)
    compute += _FLOAT * width * n_met * (2 if sampled else 1)
    compute += 8 * n_met if sizes.n_batches else 0
    compute += _loss_working(sizes, n_met, gpu=gpu) + 2 * _PAIR * pairs
    making = _MAKING_PAIR * pairs
    if layout.labels == "device":
        return _on("a step", compute + making, gpu=gpu)
    if gpu:
        return Part("a step", making + 2 * _PAIR * pairs, compute)
    return Part("a step", compute + making)


def _cells_met(sizes: TrainingSizes, share: Share) -> int:
    """Return a worker's cells in a step at most: a tile of every stratum."""
    sampling = CellSampling.plan(sizes.n_cells, sizes.cells_per_step, seed=0)
    tile = _ceil(sizes.n_cells, sampling.n_strata * sampling.one_in)
    return min(share.n_cells, _ceil(share.n_cells, sampling.one_in) + 2 * tile)


def _loss_working(sizes: TrainingSizes, n_met: int, *, gpu: bool) -> int:
    """Estimate the loss's tiles on the CPU, every cell's bounds and the rows' buffers on a GPU."""
    if not gpu:
        return 4 * _FLOAT * sizes.batch_size * 2048
    return 16 * n_met + 1024 * _FLOAT * sizes.batch_size * sizes.embedding_dim


def _measuring(sizes: TrainingSizes, share: Share, layout: Layout, *, gpu: bool) -> Part:
    """Estimate embedding and ranking on the sample for auROC."""
    pairs = sizes.auroc_pairs
    ranking = Part("measuring", (_SORT_PAIR + 2) * pairs, 2 * _FLOAT * pairs if gpu else 0)
    return _sum("measuring", ranking, _embedding(sizes, gpu=gpu), _tile(sizes, share, layout))


def _svd(sizes: TrainingSizes, share: Share, layout: Layout) -> Part:
    """Estimate a sample of cells while its factors are sought, then all cells' coordinates."""
    total = max(1, sum(sizes.block_positives))
    stride = max(1, _ceil(total, SAMPLE_POSITIVES))
    dim = sizes.embedding_dim + OVERSAMPLING
    sampled = 16 * _ceil(share.n_positives, stride)
    factors = 4 * _DOUBLE * dim * (sizes.n_peaks + _ceil(share.n_cells, stride))
    projected = 3 * _DOUBLE * dim * share.n_cells
    work = Part("start from the SVD", max(sampled + factors, projected))
    return _sum(work.name, work, _tile(sizes, share, layout))


def _solving(sizes: TrainingSizes, share: Share, layout: Layout, *, gpu: bool) -> Part:
    """Estimate embedding all training peaks, summing over labels, solving a range of cells."""
    sums = 2 * _DOUBLE * sizes.table_width * share.n_cells
    features = _DOUBLE * (sizes.table_width + sizes.embedding_dim) * sizes.n_peaks
    codes = _ceil(sizes.n_train_peaks, sizes.workers) * sizes.stored_bp
    cells = min(share.n_cells, SOLVE_CELLS)
    solver = working_bytes(sizes.n_train_peaks, cells, sizes.embedding_dim)
    deviating = 0
    if sizes.deviates:
        deviating = deviating_bytes(
            sizes.n_train_peaks, sizes.n_cells, share.n_cells, sizes.embedding_dim
        )
    return _sum(
        "solving",
        Part("sums", sums + features),
        _on("peaks", deviating, gpu=gpu),
        _on("codes", codes, gpu=layout.codes == "device"),
        _on("solver", solver, gpu=gpu),
        _embedding(sizes, gpu=gpu),
        _tile(sizes, share, layout),
    )


def _embedding(sizes: TrainingSizes, *, gpu: bool) -> Part:
    return _on("embedding", EMBED_BATCH * _activations(sizes, _EMBED_ELEMENT, gpu=gpu), gpu=gpu)


def _tile(sizes: TrainingSizes, share: Share, layout: Layout) -> Part:
    """Estimate a tile of labels as a matrix."""
    pairs = min(share.positives_of(READ_PEAKS, sizes), TILE_POSITIVES * 3 // 2)
    made = _MAKING_PAIR * pairs if layout.labels == "device" else 0
    return Part("labels of a tile of peaks", _MATRIX_PAIR * pairs, made)


def _activations(
    sizes: TrainingSizes, element_bytes: dict[str, dict[int, int]], *, gpu: bool
) -> int:
    return element_bytes["plain" if gpu else "fused"][sizes.compute_bytes] * sizes.n_convolved


def _on(name: str, n_bytes: int, *, gpu: bool) -> Part:
    return Part(name, 0, n_bytes) if gpu else Part(name, n_bytes)


def _sum(name: str, *parts: Part) -> Part:
    return Part(name, sum(p.ram_bytes for p in parts), sum(p.device_bytes for p in parts))


def _ceil(amount: int, by: int) -> int:
    return -(-amount // by)

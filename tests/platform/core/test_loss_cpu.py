"""The compiled CPU loss against the dense float64 reference: values and every gradient.

Habit: ours may be no further from float64 than the plain float32 computation, plus 1e-6 relative.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numba
import pytest
import torch

from atlasbasset.core import _loss_cpu, loss
from atlasbasset.core.loss import fused_bce
from atlasbasset.core.loss_types import CellTable, Positives
from dense_loss import dense, positives_of, random_case


class Case(NamedTuple):
    n_peaks: int
    n_cells: int
    embedding_dim: int = 8
    density: float = 0.2
    n_batches: int = 0
    stretch: float = 1.0

    def inputs(self):
        sizes = self._asdict()
        stretch = sizes.pop("stretch")
        h, table, labels = random_case(**sizes)
        return h * stretch, table, labels


CASES = {
    "one pair": Case(1, 1),
    "one cell": Case(3, 1),
    "one peak": Case(1, 70),
    "less than a tile": Case(7, 63),
    "exactly a tile, exactly a block": Case(32, 64, embedding_dim=32),
    "a tile and one, a block and one": Case(33, 65, embedding_dim=33),
    "odd": Case(130, 257, embedding_dim=20),
    "the usual batch": Case(128, 700, embedding_dim=32, density=0.02),
    "no positives": Case(5, 90, density=0.0),
    "nothing but positives": Case(5, 90, density=1.0),
    "batches": Case(6, 140, n_batches=3),
    "batches, the usual embedding": Case(20, 140, embedding_dim=32, n_batches=2),
    "logits past 100": Case(9, 80, stretch=50.0),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("runs", [2, 256])
def test_equals_the_dense_loss(monkeypatch, name, runs):
    monkeypatch.setattr(_loss_cpu, "MAX_RUNS", runs)
    h, table, labels = CASES[name].inputs()
    found = fused_bce(h, table, positives_of(labels))
    exact, plain = (dense(h, table, labels, dtype) for dtype in (torch.float64, torch.float32))
    for ours, truth, same_dtype in zip(found, exact, plain, strict=True):
        allowed = (truth - same_dtype).norm() + 1e-6 * (truth.norm() + 1)
        assert (ours.double() - truth).norm() <= allowed


@pytest.mark.parametrize("logit", [-100.0, -30.0, -12.0, -4.0, 0.0, 4.0, 12.0, 30.0, 100.0])
@pytest.mark.parametrize("open_", [False, True])
def test_a_single_logit_to_a_few_roundings(logit, open_):
    """Relative, so also where the loss is 1e-13: no difference of near equals."""
    h, table = torch.ones(1, 1), CellTable(torch.zeros(1, 1), torch.tensor([logit]))
    found = fused_bce(h, table, positives_of(torch.tensor([[open_]])))
    z = torch.tensor(logit if not open_ else -logit, dtype=torch.float64)
    sign = -1 if open_ else 1
    smallest = 1e-37  # exp is clipped where it would leave the normal floats
    assert found.loss_sum.item() == pytest.approx(
        torch.nn.functional.softplus(z, threshold=1e9).item(), rel=1e-6, abs=smallest
    )
    assert found.intercept.item() == pytest.approx(
        sign * z.sigmoid().item(), rel=1e-6, abs=smallest
    )


def test_no_cells_no_loss():
    h, table, labels = random_case(3, 0)
    found = fused_bce(h, table, positives_of(labels))
    assert found.loss_sum == 0
    assert found.embedding.shape == (0, 8)
    assert not found.h.any()


@pytest.fixture
def _threads():
    """Give torch its number of threads back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_threads")
def test_bits_do_not_depend_on_threads():
    h, table, labels = Case(20, 3000, embedding_dim=32).inputs()
    found = []
    for threads in (1, 2, 1):
        torch.set_num_threads(threads)
        found.append(fused_bce(h, table, positives_of(labels)))
    for values in zip(*found, strict=True):
        assert all(torch.equal(values[0], value) for value in values[1:])


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize("threads", [1, 2, 1000])
def test_uses_as_many_threads_as_torch(monkeypatch, threads):
    used, before = [], numba.get_num_threads()
    monkeypatch.setattr(_loss_cpu, "_all_runs", lambda *_: used.append(numba.get_num_threads()))
    h, table, labels = random_case(2, 3)
    torch.set_num_threads(threads)
    fused_bce(h, table, positives_of(labels))
    assert used == [min(threads, numba.config.NUMBA_NUM_THREADS)]
    assert numba.get_num_threads() == before


@pytest.mark.parametrize(
    ("cells", "rows"),
    [([65, 4], [0, 0]), ([0, 70], [0, 0]), ([0, -1], [0, 0]), ([0, 5], [0, 3]), ([0, 5], [0, -1])],
)
def test_positives_out_of_place_are_refused(cells, rows):
    h, table, _ = random_case(3, 70)
    with pytest.raises(ValueError, match="sorted by cell, cells below 70 and rows below 3"):
        fused_bce(h, table, Positives(torch.tensor(cells), torch.tensor(rows)))


def test_nan_is_not_hidden():
    h, table, labels = random_case(3, 70)
    h[1, 2] = torch.nan
    found = fused_bce(h, table, positives_of(labels))
    assert found.loss_sum.isnan()
    assert found.embedding.isnan().all()
    assert found.h[1].isnan().all()
    assert not found.h[0].isnan().any()


def test_views_are_taken_as_they_are():
    """Transposed or cut inputs give what copies of them give."""
    h, table, labels = random_case(6, 50)
    wide = torch.cat([table.embedding, table.embedding], 1)
    views = h.T.contiguous().T, CellTable(wide[:, :8], table.intercept)
    found, expected = (fused_bce(*given, positives_of(labels)) for given in (views, (h, table)))
    for ours, copied in zip(found, expected, strict=True):
        assert torch.equal(ours, copied)


def test_what_is_not_float32_goes_to_the_torch_tiles(monkeypatch):
    h = torch.empty(2, 8)
    assert loss._numba_takes(h, "fp32")
    assert not loss._numba_takes(h, "bf16")
    assert not loss._numba_takes(h.double(), "fp32")
    assert not loss._numba_takes(h.to("meta"), "fp32")
    monkeypatch.setattr(loss, "_is_installed", lambda _: False)
    assert not loss._numba_takes(h, "fp32")


def peak_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024


def test_resident_memory_is_the_gradients_and_a_few_megabytes():
    n_cells, n_peaks, width = 300_000, 128, 32
    h, table, _ = random_case(n_peaks, n_cells, density=0, embedding_dim=width)
    nothing = Positives(torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.long))
    fused_bce(h, CellTable(table.embedding[:1], table.intercept[:1]), nothing)  # compiles
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    except OSError:
        pytest.skip("the peak of resident memory cannot be reset here")
    before = peak_bytes()
    found = fused_bce(h, table, nothing)
    gradients = 4 * (found.embedding.numel() + found.intercept.numel())
    assert peak_bytes() - before <= gradients + 20e6 < 4 * n_peaks * n_cells

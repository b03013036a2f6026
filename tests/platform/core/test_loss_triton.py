"""The Triton kernel against the dense float64 reference: values and every gradient.

Without a GPU Triton's interpreter runs the kernel on CPU tensors. Whether it does is fixed when
Triton is first imported, so it gets a process of its own: this file as a program, once for all
cases. What the interpreter cannot tell, that the compiler takes the kernel and what it makes of
the products, is read from the machine code it generates for two GPUs. With a GPU the same cases
run there.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch._subclasses import FakeTensorMode

from atlasbasset.core.loss import _triton_takes, fused_bce
from atlasbasset.core.loss_types import LossAndGradients
from dense_loss import dense, positives_of, random_case

pytestmark = [
    pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed"),
    # Triton's compiler, on its own use of Python's ast
    pytest.mark.filterwarnings("ignore:AnnAssign.__init__ missing:DeprecationWarning"),
]


class Case(NamedTuple):
    n_peaks: int
    n_cells: int
    embedding_dim: int = 8
    density: float = 0.2
    n_batches: int = 0
    products: str = "fp32"
    scale: float = 1.0
    stretch: float = 1.0
    programs: int = 1024

    def inputs(self):
        h, table, labels = random_case(
            self.n_peaks,
            self.n_cells,
            density=self.density,
            n_batches=self.n_batches,
            embedding_dim=self.embedding_dim,
        )
        return h * self.stretch, table, labels


EXACT = {
    "one pair": Case(1, 1),
    "one cell": Case(3, 1),
    "one peak": Case(1, 70),
    "less than a tile": Case(7, 13),
    "exactly a tile": Case(32, 64),
    "a tile and one": Case(33, 65),
    "odd": Case(2, 257),
    "several chunks of rows": Case(70, 40, embedding_dim=20),
    "the usual embedding": Case(16, 130, embedding_dim=32),
    "several tiles a program, the last one past the end": Case(5, 257, programs=2),
    "no positives": Case(5, 33, density=0.0),
    "nothing but positives": Case(5, 33, density=1.0),
    "batches": Case(6, 140, n_batches=3),
    "large logits": Case(4, 9, stretch=100.0),
}
BF16 = {
    "bf16": Case(16, 130, embedding_dim=32, products="bf16"),
    "bf16 odd": Case(7, 65, products="bf16"),
    "bf16 batches": Case(33, 70, n_batches=3, products="bf16"),
}
SPECIAL = {
    "again": EXACT["the usual embedding"],
    "scaled": EXACT["less than a tile"]._replace(scale=0.5),
    "no cells": Case(3, 0),
    "many cells": Case(40, 1000, density=0.0),
}
CASES = EXACT | BF16 | SPECIAL


class Watch(torch.utils._python_dispatch.TorchDispatchMode):
    """Remembers the bytes of the largest tensor made."""

    largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor):
            self.largest = max(self.largest, out.nbytes)
        return out


def solve(case: Case, device: str) -> dict[str, torch.Tensor]:
    from atlasbasset.core import _loss_triton

    _loss_triton.MAX_PROGRAMS = case.programs
    h, table, labels = case.inputs()
    h, positives = h.to(device), positives_of(labels.to(device))
    table = type(table)(*(None if t is None else t.to(device) for t in table))
    with Watch() as watch:
        found = _loss_triton.fused_bce_triton(
            h, table, positives, scale=case.scale, products=case.products
        )
    return {k: v.cpu() for k, v in found._asdict().items()} | {
        "largest": torch.tensor(watch.largest)
    }


def solve_all(path: Path, device: str) -> None:
    found = {
        f"{name}/{key}": value
        for name, case in CASES.items()
        for key, value in solve(case, device).items()
    }
    save_file(found, path)


def interpret(path: Path) -> None:
    """Run every case by Triton's interpreter in a process of its own."""
    folders = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    there = {"TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(filter(None, folders))}
    subprocess.run([sys.executable, __file__, str(path)], env=os.environ | there, check=True)


@pytest.fixture(
    scope="module",
    params=[
        "interpreter",
        pytest.param(
            "cuda",
            marks=[
                pytest.mark.gpu,
                pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
            ],
        ),
    ],
)
def solved(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("triton") / "solved.safetensors"
    interpret(path) if request.param == "interpreter" else solve_all(path, "cuda")
    return load_file(path)


def answer(solved: dict[str, torch.Tensor], name: str) -> LossAndGradients:
    return LossAndGradients(*(solved[f"{name}/{key}"] for key in LossAndGradients._fields))


@pytest.mark.parametrize("name", EXACT)
def test_equals_the_dense_loss(solved, name):
    """No further from float64 than the plain float32 computation, plus 1e-6 relative."""
    h, table, labels = EXACT[name].inputs()
    exact, plain = (dense(h, table, labels, dtype) for dtype in (torch.float64, torch.float32))
    for ours, truth, same_dtype in zip(answer(solved, name), exact, plain, strict=True):
        allowed = (truth - same_dtype).norm() + 1e-6 * (truth.norm() + 1)
        assert (ours.double() - truth).norm() <= allowed


@pytest.mark.parametrize("name", BF16)
def test_bf16_products(solved, name):
    """A rounded operand is off by up to 2^-9: 1 % of the norm, and no worse than plain bf16.

    The torch tiles define the same, but for residuals that round the other way.
    """
    h, table, labels = BF16[name].inputs()
    exact, plain = (dense(h, table, labels, dtype) for dtype in (torch.float64, torch.bfloat16))
    tiles = fused_bce(h, table, positives_of(labels), products="bf16")
    for ours, truth, same_dtype, same in zip(
        answer(solved, name), exact, plain, tiles, strict=True
    ):
        error = (ours.double() - truth).norm()
        assert 1e-6 * truth.norm() < error <= 1e-2 * truth.norm()
        assert error <= (truth - same_dtype).norm() + 1e-3 * (truth.norm() + 1)
        assert (ours - same).norm() <= 1e-3 * same.norm()


def test_equal_input_gives_equal_bits(solved):
    pairs = zip(answer(solved, "the usual embedding"), answer(solved, "again"), strict=True)
    assert all(torch.equal(first, second) for first, second in pairs)


def test_gradients_are_scaled_and_the_loss_is_not(solved):
    one, half = answer(solved, "less than a tile"), answer(solved, "scaled")
    assert one.loss_sum == half.loss_sum
    for whole, scaled in zip(one[1:], half[1:], strict=True):
        torch.testing.assert_close(whole * 0.5, scaled)


def test_no_cells_no_loss(solved):
    found = answer(solved, "no cells")
    assert found.loss_sum == 0
    assert found.embedding.shape == (0, 8)
    assert not found.h.any()


def test_no_array_of_peaks_by_cells(solved):
    case = CASES["many cells"]
    assert solved["many cells/largest"] <= case.n_cells * case.embedding_dim * 4
    assert case.n_peaks > case.embedding_dim * 4  # one byte a pair would be larger


def test_float32_on_cuda_goes_to_triton_and_nothing_else_does():
    with FakeTensorMode():
        on_cuda, double = (
            torch.empty(2, 8, device="cuda", dtype=d) for d in (torch.float32, torch.float64)
        )
        on_cpu = torch.empty(2, 8)
    assert _triton_takes(on_cuda)
    assert not _triton_takes(double)
    assert not _triton_takes(on_cpu)


@pytest.fixture(scope="module")
def kernels():
    """``benchmarks/gpu_kernels.py``."""
    path = Path(__file__).parents[3] / "benchmarks" / "gpu_kernels.py"
    spec = importlib.util.spec_from_file_location("gpu_kernels", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["gpu_kernels"] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def own_cache(monkeypatch, tmp_path):
    """Nothing that was compiled before counts."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


SLOW = pytest.mark.slow
SPILLS = {("fp32", 80, True): 14}
"""Instructions that move registers to memory and back; none in all other variants."""


@pytest.mark.parametrize(
    ("products", "capability", "batches"),
    [
        ("fp32", 90, False),
        ("bf16", 80, True),
        pytest.param("fp32", 80, False, marks=SLOW),
        pytest.param("fp32", 80, True, marks=SLOW),
        pytest.param("fp32", 90, True, marks=SLOW),
        pytest.param("bf16", 80, False, marks=SLOW),
        pytest.param("bf16", 90, False, marks=SLOW),
        pytest.param("bf16", 90, True, marks=SLOW),
    ],
)
def test_machine_code_for_a_gpu_that_need_not_be_here(
    kernels, own_cache, products, capability, batches
):
    """Without TF32, without float atomics, and within a multiprocessor's registers and memory."""
    built = kernels.compile_loss(products, capability, batches=batches)
    text = built.asm["ptx"]
    assert "tf32" not in text
    assert "atom." not in text
    assert "red.global" not in text
    found = kernels.report(built)
    _, tile, rows, *pairs = found.loops
    assert (rows.tensor > 0) == (products == "bf16")
    assert found.spills <= SPILLS.get((products, capability, batches), 0)
    assert found.programs(capability) >= 2
    # the rows' gradient of 32 x 32 floats is read and written, its rows are read
    assert rows.written_bytes == 32 * 32 * 4
    assert rows.read_bytes >= 2 * 32 * 32 * 4
    assert tile.written_bytes >= 64 * 32 * 4
    assert pairs


def test_loops_and_their_bytes_are_read_from_machine_code(kernels):
    code = """
        /*0000*/                   MOV R1, c[0x0][0x28] ;
.L_x_1:
        /*0010*/              @!P1 LDG.E.128 R4, [R2.64] ;
.L_x_2:
        /*0020*/                   LDG.E R4, [R2.64+0x8] ;
        /*0030*/                   HMMA.16816.F32.BF16 R4, R8, R2, R4 ;
        /*0040*/               @P0 BRA `(.L_x_2) ;
        /*0050*/                   STG.E.64 [R2.64], R4 ;
        /*0060*/               @P0 BRA `(.L_x_1) ;
        /*0070*/                   EXIT ;
        /*0080*/                   NOP;
"""
    once, outer, inner = kernels.loops_of(code, threads=32)
    assert once == kernels.Loop(2, 0, 0, 0)
    assert outer == kernels.Loop(3, 0, 512, 256)
    assert inner == kernels.Loop(3, 1, 128, 0)


def test_the_page_shows_what_the_arithmetic_gives(kernels):
    """Of the bounds that need no compiler: memory and products."""
    page = (Path(__file__).parents[3] / "docs" / "performance.md").read_text()
    atlas = kernels.Atlas(cells=1_114_621, peaks=118_043, density=0.025)
    a_loop = kernels.Loop(1, 0, 0, 0)
    none = kernels.Report(1, 0, 0, 4, (a_loop,) * 3)
    of = {
        (gpu, products): kernels.step_ms(gpu, products, none, atlas)
        for gpu in kernels.GPUS
        for products in kernels.PRODUCTS
    }
    for part in ("trunk, products", "loss, memory", "loss, products", "Adam of cells, memory"):
        assert f"| {part} | " + " | ".join(f"{ms[part]:.2f}" for ms in of.values()) + " |" in page


if __name__ == "__main__":
    import triton

    assert triton.knobs.runtime.interpret, "TRITON_INTERPRET=1 did not take effect"
    solve_all(Path(sys.argv[1]), "cpu")

"""What we are measured against: the network written plainly, scvi-tools, the released code.

`PlainScBasset` is the published architecture by torch's own layers, as anyone would write it. The
scvi-tools module is used where that package is installed: ``pip install scvi-tools``. The released
TensorFlow code runs in a Python of its own (`released_tensorflow.py`).
"""

from __future__ import annotations

import itertools
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

FILTERS = (288, 288, 323, 363, 407, 456, 512)


def act(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


class PlainScBasset(nn.Module):
    """Channel-major convolutions, batch normalisation, max-pooling, a dense layer per cell."""

    def __init__(self, n_cells: int) -> None:
        super().__init__()
        shapes = [(4, 288, 17), *((a, b, 5) for a, b in itertools.pairwise(FILTERS))]
        shapes.append((512, 256, 1))
        self.convolutions = nn.ModuleList(
            nn.Conv1d(c, f, k, padding=k // 2, bias=False) for c, f, k in shapes
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(f, eps=1e-3) for _, f, _ in shapes)
        self.dense, self.dense_norm = nn.Linear(1792, 32, bias=False), nn.BatchNorm1d(32, eps=1e-3)
        self.cells = nn.Linear(32, n_cells)

    def forward(self, x_B4L: Tensor) -> Tensor:
        """Return logits (B, N)."""
        x = x_B4L
        for convolution, norm, pool in zip(
            self.convolutions, self.norms, (3, 2, 2, 2, 2, 2, 2, 1), strict=True
        ):
            x = F.max_pool1d(norm(convolution(act(x))), pool)
        h = self.dense_norm(self.dense(act(x).permute(0, 2, 1).flatten(1)))
        return self.cells(act(F.dropout(h, 0.2, training=self.training)))


def plain_step(
    onehot_B4L: Tensor, labels_BN: Tensor, *, bf16: bool, device: torch.device | str = "cpu"
) -> Callable[[], None]:
    """Return a function that takes one training step of the plain network."""
    device = torch.device(device)
    model = PlainScBasset(labels_BN.shape[1]).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, betas=(0.95, 0.9995))

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            logits = model(onehot_B4L)
        F.binary_cross_entropy_with_logits(logits.float(), labels_BN).backward()
        optimizer.step()

    return step


def scvi_step(codes_BL: Tensor, labels_BN: Tensor) -> Callable[[], None] | None:
    """Return a step of scvi-tools' ScBassetModule; None where scvi-tools is not installed."""
    if find_spec("scvi") is None:
        return None
    from scvi.external.scbasset._module import REGISTRY_KEYS, ScBassetModule

    model = ScBassetModule(n_cells=labels_BN.shape[1])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, betas=(0.95, 0.9995))
    tensors = {REGISTRY_KEYS.DNA_CODE_KEY: codes_BL.long(), REGISTRY_KEYS.X_KEY: labels_BN}

    def step() -> None:
        optimizer.zero_grad()
        inference = model.inference(**model._get_inference_input(tensors))
        generative = model.generative(**model._get_generative_input(tensors, inference))
        model.loss(tensors, inference, generative).loss.backward()
        optimizer.step()

    return step


def released_step(python: str, codes_BL: Tensor, labels_BN: Tensor) -> Callable[[], None]:
    """Return a step of the released TensorFlow code, taken in a process of `python`."""
    arrays = Path(tempfile.mkdtemp()) / "arrays.npz"
    np.savez(arrays, codes=codes_BL.numpy(), labels=labels_BN.numpy())
    script = Path(__file__).with_name("released_tensorflow.py")
    command = [python, str(script), str(arrays), str(torch.get_num_threads())]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )

    def step() -> None:
        assert process.stdin
        assert process.stdout
        print(file=process.stdin, flush=True)
        if process.stdout.readline() != "done\n":
            raise SystemExit("the released TensorFlow code failed: see above")

    return step

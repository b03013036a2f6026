"""What plans of verbs share: a model that is loaded when work begins, an output that is free."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Self

import torch

from atlasbasset.batch.job_identity import is_published
from atlasbasset.core.compute import compute_dtype_for
from atlasbasset.engine.compilation import telling_compilation
from atlasbasset.engine.config import TrainConfig
from atlasbasset.engine.convolution_choice import arithmetic_words, check_convolution
from atlasbasset.engine.state import final_solve_of
from atlasbasset.inference.model import Model, as_model, check_compute, trunk_config
from atlasbasset.inference.peak_deviations import PeakDeviations
from atlasstore.errors import StoreExistsError
from atlasstore.events import Notice
from atlasstore.models.model_store import ModelStore
from atlasstore.resume.ledger import refuse_taken

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from atlasbasset.batch.executor import WorkerPool
    from atlasbasset.batch.job_identity import JobIdentity
    from atlasbasset.core.compute import Compute, ConvolutionChoice
    from atlasbasset.core.config import TrunkConfig
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.events import Subscriber
    from atlasstore.plans import Lines

__all__ = [
    "FLOAT_BYTES",
    "PlannedModel",
    "finished_line",
    "is_finished",
    "notice_lines",
    "worker_count",
    "workers_in_full",
]

FLOAT_BYTES = 4


@dataclass(frozen=True, eq=False)
class PlannedModel:
    """A model whose store has been opened; its weights are loaded when they are first needed."""

    given: str | Path | Model
    store: ModelStore
    compute: Compute
    convolution: ConvolutionChoice

    @classmethod
    def of(
        cls,
        model: str | Path | Model,
        *,
        compute: Compute = "fp32",
        convolution: ConvolutionChoice = "auto",
    ) -> Self:
        """Open the store of `model`.

        Raises
        ------
        UserInputError
            For another `compute` or `convolution`.
        NotAStoreError
            There is no model, or its training has not finished an epoch.
        """
        check_compute(compute)
        check_convolution(convolution)
        if isinstance(model, Model):
            return cls(model, model.store, compute, convolution)
        store = ModelStore.open(model)
        store.newest()
        return cls(model, store, compute, convolution)

    @property
    def url(self) -> str:
        """Where it is stored."""
        return self.store.url

    @property
    def n_cells(self) -> int:
        """N."""
        return self.store.n_cells

    @cached_property
    def trunk(self) -> TrunkConfig:
        """Its architecture."""
        return trunk_config(self.store)

    @property
    def table_bytes(self) -> int:
        """What its cells' embeddings and intercepts take in memory."""
        return self.row_bytes * self.n_cells

    @property
    def row_bytes(self) -> int:
        """Of a cell's embedding and intercept."""
        return FLOAT_BYTES * (self.trunk.embedding_dim + 1)

    @cached_property
    def deviations(self) -> PeakDeviations | None:
        """Its peak deviations; the rest of its weights is not read."""
        if isinstance(self.given, Model):
            return self.given.deviations
        return PeakDeviations.of(self.store.newest())

    @cached_property
    def cells_l2(self) -> float:
        """The weight its cells were solved with last, or would have been."""
        state = self.store.newest().state
        solved = (final_solve_of(state) or {}).get("peak_deviations") or {}
        trained = self.store.config.get("train") or {}
        without = trained.get("solve_l2", TrainConfig().solve_l2)
        return float((state.get("mapped") or {}).get("l2") or solved.get("l2_cells") or without)

    def deviates_on(self, atlas: Atlas) -> tuple[bool, str | None]:
        """Return whether its peaks deviate for `atlas`, and a sentence where they do not fit."""
        found = self.deviations
        if found is None or found.fit(atlas.var):
            return found is not None, None
        return False, (
            f"The peak deviations of {self.url} are of other peaks than those of {atlas.url}: "
            "only sequences count here."
        )

    @property
    def arithmetic(self) -> str:
        """In what arithmetic its trunk computes, and why; told without loading or measuring."""
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if not isinstance(self.given, Model):
            dtype = compute_dtype_for(self.compute, device)
            return arithmetic_words(self.convolution, dtype, device)
        found = self.given
        place = found.trunk.bottleneck.weight.device
        return arithmetic_words(found.trunk.convolution, found.compute_dtype, place)

    def tell_arithmetic(self, on_event: Subscriber) -> None:
        """Load the weights, settle how convolutions are computed, and say what was chosen.

        What the caller has chosen, by options or with a model in memory, is not repeated.
        """
        if find_spec("numba") is not None:
            importlib.import_module("numba")  # so that its compiling is heard
        with telling_compilation(on_event):
            self.loaded  # noqa: B018 - measures where this machine has not been
        if not isinstance(self.given, Model) and "auto" in (self.compute, self.convolution):
            on_event(Notice(f"Computing in {self.arithmetic}."))

    @cached_property
    def loaded(self) -> Model:
        """The model with its weights; loaded once."""
        return as_model(self.given, compute=self.compute, convolution=self.convolution)


def is_finished(out: str | Path, identity: Callable[[], JobIdentity]) -> bool:
    """Whether the very same job has published its result at `out`.

    Parameters
    ----------
    out
        URL of the result.
    identity
        Called only when something is stored there: what makes two runs the same job.

    Raises
    ------
    StoreExistsError
        When something else is stored at `out`.
    """
    try:
        refuse_taken(out)
    except StoreExistsError:
        if not is_published(out, identity()):
            raise
        return True
    return False


def finished_line(*, is_finished: bool) -> Lines:
    """Return the line of a plan whose job has run before; none of another plan."""
    return [("result", "finished by the same job: nothing to do")] if is_finished else []


def notice_lines(name: str, notice: str | None) -> Lines:
    """Return the line of a sentence on the input; none where there is nothing to say."""
    return [(name, notice)] if notice else []


def worker_count(workers: WorkerPool) -> str:
    """Return who computes, in words."""
    return f"{workers.count} Ray actors" if workers.count else "this process"


def workers_in_full(workers: WorkerPool) -> str:
    """Return who computes and what each of them reserves."""
    if not workers.count:
        return worker_count(workers)
    return f"{worker_count(workers)} of {workers.cpus:g} CPUs and {workers.gpus:g} GPUs"

"""TensorBoard, MLflow and Weights & Biases as sinks; each imported when it is asked for."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from atlasbasset.extras import needed
from atlasbasset.loggers.sink import Sink

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["TRACKERS"]

_EXPERIMENT = "atlasbasset"


class _TensorBoard(Sink):
    """Event files in a folder, which ``tensorboard --logdir`` shows."""

    def __init__(self, folder: str) -> None:
        needed("tensorboard", extra="tensorboard", purpose="--log-to tensorboard:DIR")
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(folder)

    def settings(self, values: Mapping[str, Any]) -> None:
        rows = [f"| {name} | {value} |" for name, value in values.items()]
        self.text("settings", "\n".join(["| setting | value |", "|---|---|", *rows]))

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name.replace(" ", "_"), value, step)
        self._writer.flush()

    def text(self, name: str, value: str) -> None:
        self._writer.add_text(name, value)

    def close(self, *, failed: bool) -> None:
        self._writer.close()


class _Mlflow(Sink):
    """A run of an MLflow server, database or folder.

    Its experiment is "atlasbasset", or what ``MLFLOW_EXPERIMENT_NAME`` says.
    """

    def __init__(self, uri: str) -> None:
        tracking = needed("mlflow.tracking", extra="mlflow", purpose="--log-to mlflow:URI")
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", _EXPERIMENT)
        self._client: Any = tracking.MlflowClient(tracking_uri=uri)
        found = self._client.get_experiment_by_name(name)
        experiment = self._client.create_experiment(name) if found is None else found.experiment_id
        self._run: str = self._client.create_run(experiment).info.run_id

    def settings(self, values: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        params = [Param(name, str(value)) for name, value in values.items()]
        self._client.log_batch(self._run, params=params)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value in values.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def text(self, name: str, value: str) -> None:
        self._client.set_tag(self._run, name, value)

    def close(self, *, failed: bool) -> None:
        self._client.set_terminated(self._run, "FAILED" if failed else "FINISHED")


class _Wandb(Sink):
    """A run of a Weights & Biases project; ``WANDB_MODE=offline`` keeps it on this machine."""

    def __init__(self, project: str) -> None:
        wandb = needed("wandb", extra="wandb", purpose="--log-to wandb:PROJECT")
        self._run: Any = wandb.init(project=project)
        for part in ("epoch", "solved", "peaks"):
            self._run.define_metric(f"{part}/*", step_metric="epochs")

    def settings(self, values: Mapping[str, Any]) -> None:
        self._run.config.update(dict(values))

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        is_progress = any(name.startswith("progress/") for name in values)
        self._run.log(dict(values) if is_progress else {**values, "epochs": step})

    def text(self, name: str, value: str) -> None:
        self._run.summary[name] = value

    def close(self, *, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))


TRACKERS: Mapping[str, Callable[[str], Sink]] = {
    "tensorboard": _TensorBoard,
    "mlflow": _Mlflow,
    "wandb": _Wandb,
}
"""What stands before the colon of a target -> what makes its sink of the rest."""

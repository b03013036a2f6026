"""Figures of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atlasbasset.verbs.report.page.document import Csv, Figure
from atlasbasset.verbs.report.page.palette import SERIES
from atlasbasset.verbs.report.page.plot import axis, graph_objects, new_plot
from atlasbasset.verbs.report.page.text import figure
from atlasstore.text_units import duration
from atlasstore.text_units import rate as per_second

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlasbasset.verbs.report.findings.training import Training

__all__ = ["auroc_figure", "loss_figure", "time_figure"]

_AUROCS = (
    ("train_auroc", "training peaks, per cell"),
    ("valid_auroc_per_cell", "validation peaks, per cell"),
    ("valid_auroc_per_peak", "validation peaks, per peak"),
)
_MANY = 30
"""Epochs above which markers only hide the line."""
_GAP = 0.1


def loss_figure(training: Training) -> Figure:
    """Draw the training loss by epoch."""
    epochs, losses = _numbers(training), [epoch.loss for epoch in training.epochs]
    traces = [_line(epochs, losses, "loss", 0)]
    if training.solved is not None and training.solved.loss is not None:
        traces.append(_solved(epochs, training.solved.loss, 0))
    plot = new_plot(
        traces,
        xaxis=_epoch_axis(epochs),
        yaxis=axis("cross-entropy, nats"),
        showlegend=len(traces) > 1,
    )
    return Figure(
        name="loss",
        title="Training loss",
        says=_loss_says(losses),
        plot=plot,
        csv=Csv.of("loss.csv", {"epoch": epochs, "loss": losses}),
    )


def _loss_says(losses: Sequence[float | None]) -> str:
    known = [loss for loss in losses if loss is not None]
    if len(known) < 2:
        return f"The loss after one epoch is {figure(known[0], 4) if known else 'unknown'}."
    course = f"The loss went from {known[0]:.4f} to {known[-1]:.4f} in {len(losses)} epochs"
    drop, last = known[0] - known[-1], known[-2] - known[-1]
    if drop <= 0:
        return f"{course}: it did not fall, so the model did not learn."
    if last > 0.05 * drop:
        return f"{course} and still falls: longer training may do better."
    return f"{course} and has levelled off."


def auroc_figure(training: Training) -> Figure:
    """Draw auROCs by epoch: training and validation peaks."""
    epochs = _numbers(training)
    columns = {name: [getattr(e, name) for e in training.epochs] for name, _ in _AUROCS}
    traces = [_line(epochs, columns[key], name, i) for i, (key, name) in enumerate(_AUROCS)]
    for i, (key, _) in enumerate(_AUROCS):
        value = None if training.solved is None else getattr(training.solved, key)
        if value is not None:
            traces.append(_solved(epochs, value, i, show=i == 0))
    plot = new_plot(traces, xaxis=_epoch_axis(epochs), yaxis=axis("auROC (0.5 is chance)"))
    return Figure(
        name="auroc-by-epoch",
        title="auROC while training",
        says=_auroc_says(training),
        plot=plot,
        csv=Csv.of("auroc-by-epoch.csv", {"epoch": epochs, **columns}),
    )


def _auroc_says(training: Training) -> str:
    last = training.solved or training.epochs[-1]
    seen, unseen = last.train_auroc, last.valid_auroc_per_cell
    text = (
        f"At the end the auROC per cell is {figure(seen)} on training peaks and {figure(unseen)} "
        "on validation peaks"
    )
    if seen is None or unseen is None:
        text += "."
    elif seen - unseen > _GAP:
        text += ": the gap says that the model has learned peaks by heart (overfitting)."
    else:
        text += ": a small gap, so what was learned holds for unseen sequence."
    if training.explained is not None:
        text += (
            f" Training peaks deviate from what their sequences say, which explains "
            f"{100 * training.explained:.0f} % of where they lie."
        )
    return text


def time_figure(training: Training) -> Figure:
    """Draw where the time of each epoch went."""
    epochs = _numbers(training)
    parts = {
        "steps": [_without(e.seconds, e.seconds_waiting) for e in training.epochs],
        "waiting for data": [e.seconds_waiting for e in training.epochs],
        "measuring": [e.seconds_measuring for e in training.epochs],
    }
    go = graph_objects()
    traces = [
        go.Bar(x=epochs, y=values, name=name, marker={"color": SERIES[i]})
        for i, (name, values) in enumerate(parts.items())
    ]
    plot = new_plot(
        traces, barmode="stack", xaxis=_epoch_axis(epochs), yaxis=axis("seconds"), bargap=0.25
    )
    rates = [e.sequences_per_s for e in training.epochs]
    return Figure(
        name="time",
        title="Time of each epoch",
        says=_time_says(training, parts),
        plot=plot,
        csv=Csv.of("time.csv", {"epoch": epochs, **parts, "sequences_per_s": rates}),
    )


def _time_says(training: Training, parts: dict[str, list[float | None]]) -> str:
    sums = {name: sum(v or 0.0 for v in values) for name, values in parts.items()}
    spent = sum(sums.values())
    solve = 0.0 if training.solved is None else training.solved.seconds or 0.0
    rate = training.epochs[-1].sequences_per_s
    waited = sums["waiting for data"] / spent if spent else 0.0
    text = f"Training took {duration(spent + solve)}"
    if solve:
        text += f", of which {duration(solve)} solved the cells at the end"
    if rate is not None:
        text += f"; the last epoch ran at {per_second(rate, 'sequences')}"
    return f"{text}. Waiting for data was {100 * waited:.1f} % of the epochs."


def _without(seconds: float | None, waiting: float | None) -> float | None:
    return None if seconds is None else max(0.0, seconds - (waiting or 0.0))


def _numbers(training: Training) -> list[int]:
    return [epoch.number for epoch in training.epochs]


def _epoch_axis(epochs: list[int]) -> dict[str, Any]:
    ticks = {"dtick": 1} if len(epochs) <= 12 else {}
    return axis("epoch", tickformat="d", range=[epochs[0] - 0.6, epochs[-1] + 0.9], **ticks)


def _line(epochs: list[int], values: Sequence[float | None], name: str, place: int) -> Any:
    return graph_objects().Scatter(
        x=epochs,
        y=list(values),
        name=name,
        mode="lines" if len(epochs) > _MANY else "lines+markers",
        line={"color": SERIES[place], "dash": ("solid", "dash", "dot")[place]},
        marker={"symbol": ("circle", "square", "diamond")[place], "size": 7},
        hovertemplate="epoch %{x}: %{y:.4f}",
    )


def _solved(epochs: list[int], value: float, place: int, *, show: bool = True) -> Any:
    return graph_objects().Scatter(
        x=[epochs[-1] + 0.5],
        y=[value],
        name="cells solved exactly",
        mode="markers",
        marker={"symbol": "star", "size": 12, "color": SERIES[place]},
        showlegend=show,
        hovertemplate="cells solved: %{y:.4f}",
    )

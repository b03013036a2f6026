"""What an ended verb has left, and how to go on: looked up, so that it is true."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["what_is_safe"]

_AGAIN = "run the same command again"
_LEAVES_NOTHING = {
    "inspect": "Nothing was changed.",
    "list": "Nothing was changed.",
    "catalog": f"An earlier page is as it was; {_AGAIN}.",
    "card": f"The store is as it was; {_AGAIN}.",
    "evaluate": f"Nothing was changed; {_AGAIN}.",
    "report": f"An earlier page is as it was; {_AGAIN}.",
    "watch": "The training goes on; nothing was changed.",
    "submit": "A job that was submitted goes on; follow it by `atlasbasset logs --follow`.",
    "status": "Nothing was changed.",
    "logs": "The job goes on as it was.",
    "stop": "`atlasbasset status` tells whether the job has ended.",
    "resources": "Nothing was changed.",
}
_INPUTS_SAFE = f"The inputs are untouched; {_AGAIN}."


def what_is_safe(verb: str, params: Mapping[str, Any]) -> str:
    """Return a sentence on what is kept of a verb that ended early, and how to resume.

    Parameters
    ----------
    verb
        The verb's name.
    params
        The verb's parameters, for its output.
    """
    out = params.get("out")
    if verb in _LEAVES_NOTHING or out is None:
        return _LEAVES_NOTHING.get(verb, _INPUTS_SAFE)
    try:
        return _said_of(verb, str(out), adds=bool(params.get("append")))
    except Exception:  # noqa: BLE001 - the store cannot be asked; the error at hand matters more
        return f"To go on, {_AGAIN}: it does only what is missing."


def _said_of(verb: str, out: str, *, adds: bool) -> str:
    from atlasstore.files import urls
    from atlasstore.resume.ledger import has_receipts, is_begun

    if verb == "train":
        return _of_training(out)
    if verb == "demo":
        done = "Finished stages in {} are kept: the same command resumes from there."
        return done.format(out) if urls.list_names(out) else f"{out} was not made; {_AGAIN}."
    if has_receipts(out, adds=adds):
        return f"Finished work is kept next to {out}: the same command resumes it."
    if adds:
        return f"{out} is whole, with or without the new samples; {_AGAIN}."
    if urls.exists(out) and not is_begun(out):
        return f"{out} is written."
    return f"{out} was not written; {_AGAIN}."


def _of_training(out: str) -> str:
    from atlasstore.errors import NotAStoreError
    from atlasstore.models.model_store import ModelStore

    try:
        checkpoint = ModelStore.open(out).latest()
    except NotAStoreError:
        checkpoint = None
    if checkpoint is None:
        return f"Nothing was learned yet: the same command begins the training of {out}."
    epochs, step = len(checkpoint.state["history"]), checkpoint.state["step"]
    at = f"after epoch {epochs}" if not step else f"after step {step:,} of epoch {epochs + 1}"
    return f"{out} is kept: the same command resumes from its newest checkpoint, {at}."

"""The stores that a report is about: sorted by what they are, and checked to belong together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasbasset.verbs.shared.atlas_peaks import check_window
from atlasbasset.verbs.shared.plan import PlannedModel
from atlasbasset.verbs.shared.same_cells import check_same_cells
from atlasbasset.verbs.shared.track_set import TRACKS, TrackSet, bigtools
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import UserInputError
from atlasstore.files import urls
from atlasstore.files.json_text import parsed_json
from atlasstore.inspect_store import open_store
from atlasstore.models.model_store import ModelStore
from atlasstore.results.ism_result import IsmResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from atlasbasset.inference.model import Model
    from atlasstore.results.result import Result

__all__ = ["Evaluated", "Given", "sorted_stores"]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What `evaluate --json` wrote."""

    url: str
    values: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Given:
    """A model and what was made with it; None, or empty, where a kind was not given."""

    model: PlannedModel
    atlas: Atlas | None = None
    activity: Result | None = None
    ism: IsmResult | None = None
    tracks: TrackSet | None = None
    others: tuple[Result, ...] = ()
    """Results of other kinds, which are listed."""
    evaluations: tuple[Evaluated, ...] = ()

    @property
    def urls(self) -> list[str]:
        """URLs of all stores and files."""
        single: list[Any] = [self.model, self.atlas, self.activity, self.ism, self.tracks]
        found = [store.url for store in single if store is not None]
        others = [*(one.url for one in self.others), *(one.url for one in self.evaluations)]
        return [*found, *others]


@dataclass(slots=True)
class _Sorted:
    """What has been found so far, one of a kind where a kind may come once."""

    single: dict[str, Any] = field(default_factory=dict)
    others: list[Result] = field(default_factory=list)
    evaluations: list[Evaluated] = field(default_factory=list)

    def put(self, kind: str, store: Any) -> None:
        """Keep a store of which there may be one."""
        if kind in self.single:
            raise UserInputError(
                f"{self.single[kind].url} and {store.url} are both given as {kind}; a report is "
                "about one of them: leave the other out."
            )
        self.single[kind] = store


def sorted_stores(model: str | Path | Model, stores: Sequence[str | Path | Atlas]) -> Given:
    """Open a model and the stores beside it, in any order.

    Parameters
    ----------
    model
        A model, or the URL of its store.
    stores
        An atlas, results, a folder of tracks, and JSON files of `evaluate`.

    Raises
    ------
    UserInputError
        A store is of a kind that a report has no place for, comes twice, or is of other cells.
    NotAStoreError
        Nothing is at a URL.
    """
    found = _Sorted()
    for store in stores:
        _put(found, store)
    given = Given(
        PlannedModel.of(model),
        found.single.get("an atlas"),
        found.single.get("TF activity"),
        found.single.get("mutagenesis"),
        found.single.get("tracks"),
        tuple(found.others),
        tuple(found.evaluations),
    )
    _check(given)
    return given


def _put(found: _Sorted, store: str | Path | Atlas) -> None:
    if isinstance(store, Atlas):
        found.put("an atlas", store)
    elif str(store).endswith(".json"):
        found.evaluations.append(_evaluated(str(store)))
    elif urls.exists(urls.join(store, TRACKS)):
        bigtools()  # is there, before anything is computed
        found.put("tracks", TrackSet.open(store))
    else:
        _put_opened(found, open_store(str(store)))


def _put_opened(found: _Sorted, store: Any) -> None:
    if isinstance(store, Atlas):
        found.put("an atlas", store)
    elif isinstance(store, ModelStore):
        raise UserInputError(
            f"{store.url} is a second model; a report is about one: make another report for it."
        )
    elif store.kind == "tf_activity":
        found.put("TF activity", store)
    elif store.kind == "ism":
        found.put("mutagenesis", IsmResult(store))
    else:
        found.others.append(store)


def _evaluated(url: str) -> Evaluated:
    text = urls.read_bytes(url)
    try:
        values = parsed_json(text)
    except ValueError as error:
        raise UserInputError(f"{url} is no JSON ({error}); give what evaluate --json wrote.") from (
            error
        )
    if not isinstance(values, dict) or not isinstance(values.get("prediction"), dict):
        raise UserInputError(
            f"{url} holds no evaluation; give what `atlasbasset evaluate --json {url}` wrote."
        )
    return Evaluated(url, values)


def _check(given: Given) -> None:
    """Raise unless what was given belongs to the model."""
    model = given.model.store
    if given.atlas is not None:
        check_window(model, given.atlas)
        check_same_cells(model, given.atlas)
    if given.activity is not None:
        _check_cells(model, given.activity)


def _check_cells(model: ModelStore, result: Result) -> None:
    ours, theirs = np.asarray(model.obs.index), np.asarray(result.obs.index)
    if len(ours) != len(theirs) or (ours != theirs).any():
        raise UserInputError(
            f"{result.url} is of other cells than {model.url}, or of some of them; give a result "
            "of all cells of this model."
        )

"""Settings that are declared once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest

from atlasbasset.engine.config import RECIPES, TrainConfig
from atlasbasset.engine.settings import Setting, check_settings, declared, documented
from atlasstore.errors import UserInputError


@documented
@dataclass(frozen=True)
class Oven:
    """An oven."""

    heat: Annotated[float, Setting("Heat, degrees.", above=0)] = 180.0
    share: Annotated[float, Setting("Filled share.", least=0, below=1)] = 0.5
    trays: Annotated[int, Setting("Trays.", least=0)] = 2
    mode: Annotated[Literal["fan", "grill"], Setting("How it heats.")] = "fan"
    name: str = "no setting"


def test_the_fields_say_everything() -> None:
    found = declared(Oven)
    assert list(found) == ["heat", "share", "trays", "mode"]
    assert found["mode"].choices == ("fan", "grill")
    assert found["heat"].default == 180.0
    assert "heat : float, default 180.0\n    Heat, degrees (above 0)." in str(Oven.__doc__)
    assert "share : float, default 0.5\n    Filled share (in [0, 1))." in str(Oven.__doc__)
    assert "mode : {'fan', 'grill'}, default 'fan'" in str(Oven.__doc__)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("heat", 0, "heat must be above 0, got 0"),
        ("heat", float("nan"), "heat must be a finite number, got nan"),
        ("share", 1.0, r"share must be in \[0, 1\), got 1.0"),
        ("share", -0.1, r"share must be in \[0, 1\), got -0.1"),
        ("trays", -1, "trays must be 0 or more, got -1"),
        ("mode", "steam", "mode must be one of fan, grill, got 'steam'"),
    ],
)
def test_what_is_out_of_bounds_is_named(name: str, value: object, said: str) -> None:
    with pytest.raises(UserInputError, match=said):
        check_settings(Oven(**{name: value}))  # type: ignore[arg-type]
    check_settings(Oven())


def test_every_setting_of_a_training_has_help_and_allows_what_recipes_use() -> None:
    found = declared(TrainConfig)
    assert set(TrainConfig.__dataclass_fields__) - set(found) == {"trunk"}
    for setting in found.values():
        assert setting.setting.help.endswith(".")
        assert f"\n{setting.name} : " in str(TrainConfig.__doc__)
        for recipe in RECIPES:
            setting.check(getattr(TrainConfig.recipe(recipe), setting.name))


def test_without_a_word_the_recipe_is_the_fast_one() -> None:
    assert TrainConfig() == TrainConfig.recipe("fast")


@pytest.mark.parametrize(
    ("n_peaks", "changes", "epochs"),
    [
        (100_000, {}, 8),
        (9_600, {}, 8),
        (5_000, {}, 15),
        (5_000, {"batch_size": 64}, 8),
        (1_000, {}, 32),
        (1, {}, 32),
        (1_000, {"epochs": 3}, 3),
        (1_000, {"init_from": "other.zarr"}, 8),
    ],
)
def test_epochs_follow_from_the_number_of_peaks(
    n_peaks: int, changes: dict[str, Any], epochs: int
) -> None:
    assert TrainConfig(**changes).with_epochs(n_peaks).epochs == epochs
    assert TrainConfig.recipe("paper", **changes).with_epochs(n_peaks).epochs >= 3

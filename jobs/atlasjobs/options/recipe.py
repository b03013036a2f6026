"""``train``'s options that are settings of a recipe, as `TrainConfig` declares them.

They are made from its fields when the verb is used or its help shown, because the program starts
without importing the engine. None stands for the recipe's own value.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from atlasjobs.program import Verb, as_written

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atlasbasset import TrainConfig
    from atlasbasset.engine.settings import Declared

__all__ = [
    "Recipe",
    "RecipeVerb",
    "chosen_config",
    "differences",
    "recipe_values",
    "setting_text",
]

_GIVEN = "atlasbasset.settings"
_FORMER = {"--polish": "--final-solve", "--no-polish": "--no-final-solve"}
"""Former names of options: understood, not shown."""
_LATER = "dry_run"
"""The first of the parameters that stand after the settings in the help."""

Recipe = Annotated[
    Literal["fast", "paper"],
    typer.Option(
        help="Settings to start from; options change single ones. paper: as the released model.",
        rich_help_panel="Recipe",
    ),
]


class RecipeVerb(Verb):
    """A verb with an option for every setting of a recipe."""

    _params: list[Any]
    _settings: tuple[str, ...] = ()
    """Names of the settings, once they are among the parameters."""

    @property
    def params(self) -> list[Any]:
        """The verb's own parameters with the settings among them; the list itself, as in click."""
        if not self._settings:
            options = _setting_options()
            self._settings = tuple(option.name for option in options)
            names = [param.name for param in self._params]
            at = names.index(_LATER) if _LATER in names else len(names)
            self._params[at:at] = options
        return self._params

    @params.setter
    def params(self, params: list[Any]) -> None:
        self._params = params

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the words of the command line, former names of options included."""
        return super().parse_args(ctx, [_FORMER.get(word, word) for word in args])

    def invoke(self, ctx: Any) -> Any:
        """Do the verb's work; the settings that were given are kept for `chosen_config`."""
        ctx.meta[_GIVEN] = {name: ctx.params.pop(name) for name in self._settings}
        return super().invoke(ctx)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Show the help; the recipes' values stand where other options have their default."""
        values = recipe_values()
        for param in self.params:
            if param.name in values:
                param.show_default = _shown(values[param.name])
            elif param.name == "recipe":
                listed = ", ".join(name.replace("_", "-") for name in differences())
                param.help += f" They differ in {listed}."
        super().format_help(ctx, formatter)


def chosen_config(ctx: typer.Context, recipe: str) -> TrainConfig:
    """Return the recipe with the settings that were given."""
    from atlasbasset import TrainConfig

    given = {name: value for name, value in ctx.meta[_GIVEN].items() if value is not None}
    return TrainConfig.recipe(recipe, **given)


def _setting_options() -> list[Any]:
    """Return the command line's parameter of each setting that is an option."""
    from atlasbasset import TrainConfig
    from atlasbasset.engine.settings import declared

    found = declared(TrainConfig)

    def settings() -> None:
        """Stand for the settings."""

    settings.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [_parameter(setting, found) for setting in found.values() if setting.setting.panel]
    )
    holder = typer.Typer(add_completion=False)
    holder.command()(settings)
    params = typer.main.get_command(holder).params
    return as_written([param for param in params if param.name != "help"])


def _parameter(setting: Declared, known: Mapping[str, Declared]) -> inspect.Parameter:
    is_always_on = all(value is True for value in recipe_values()[setting.name].values())
    names = [f" /--no-{setting.name.replace('_', '-')}"] if is_always_on else []
    option = typer.Option(
        *names,
        help=_help(setting, known),
        rich_help_panel=setting.setting.panel,
        metavar=setting.setting.metavar,
    )
    return inspect.Parameter(
        setting.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[setting.kind | None, option],
    )


def _help(setting: Declared, known: Mapping[str, Declared]) -> str:
    """Return the help; other settings by their options' names, and bounds where there are two."""
    text = re.sub(r"\w+_\w+", lambda found: _as_option(found[0], known), setting.setting.help)
    return f"{text.rstrip('.')}, {setting.setting.bounds}." if setting.setting.below else text


def _as_option(word: str, known: Mapping[str, Declared]) -> str:
    return f"--{word.replace('_', '-')}" if word in known else word


def recipe_values() -> dict[str, dict[str, Any]]:
    """Return every setting's value in each recipe: setting -> recipe -> value."""
    from atlasbasset import TrainConfig
    from atlasbasset.engine.config import RECIPES

    recipes = {name: TrainConfig.recipe(name) for name in RECIPES}
    return {
        field.name: {name: getattr(config, field.name) for name, config in recipes.items()}
        for field in fields(TrainConfig)
        if field.name != "trunk"
    }


def differences() -> list[str]:
    """Return the settings that are not the same in every recipe."""
    return [name for name, values in recipe_values().items() if len(set(values.values())) > 1]


def setting_text(value: Any) -> str:
    """Return a setting's value as a user reads it."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _shown(values: Mapping[str, Any]) -> str:
    texts = {recipe: setting_text(value) for recipe, value in values.items()}
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return ", ".join(f"{recipe} {text}" for recipe, text in texts.items())

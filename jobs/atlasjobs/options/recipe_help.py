"""What each recipe uses, read from the recipes themselves when ``train --help`` is shown."""

from dataclasses import fields
from typing import Any

from atlasjobs.program import Verb

__all__ = ["RecipeVerb", "differences", "recipe_values", "setting_text"]


class RecipeVerb(Verb):
    """A verb with options that are settings of a recipe."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Show the help; the recipes' values stand where other options have their default."""
        values = recipe_values()
        for param in self.params:
            if param.name in values:
                param.show_default = _shown(values[param.name])  # type: ignore[attr-defined]
            elif param.name == "recipe":
                listed = ", ".join(name.replace("_", "-") for name in differences())
                param.help += f" They differ in {listed}."  # type: ignore[attr-defined]
        super().format_help(ctx, formatter)


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


def _shown(values: dict[str, Any]) -> str:
    texts = {recipe: setting_text(value) for recipe, value in values.items()}
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return ", ".join(f"{recipe} {text}" for recipe, text in texts.items())

"""``--config run.toml``: a file of a verb's options; unknown keys are errors.

Keys are the options' names, with dashes or underscores; a command-line option wins over the file.
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["apply_config"]

_NOT_IN_FILE = ("config", "debug", "help")


def apply_config(ctx: typer.Context, path: str | None) -> str | None:
    """Make the file's values the defaults of the verb of `ctx` (a callback of ``--config``).

    Raises
    ------
    typer.BadParameter
        The file cannot be read, a key is not an option of the verb, or a value has the wrong kind.
    """
    if path is not None and not ctx.resilient_parsing:
        ctx.default_map = {**(ctx.default_map or {}), **_read(path, _options(ctx))}
    return path


def _options(ctx: typer.Context) -> dict[str, Any]:
    """Return the verb's parameters by every name that a file may use, dashes as underscores."""
    named: dict[str, Any] = {}
    for param in ctx.command.params:
        if param.name is not None and param.name not in _NOT_IN_FILE:
            long = [option for option in param.opts if option.startswith("--")]
            for name in (param.name, *long):
                named[name.lstrip("-").replace("-", "_")] = param
    return named


def _read(path: str, options: Mapping[str, Any]) -> dict[str, Any]:
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise typer.BadParameter(f"{path} cannot be read as TOML: {error}.") from error
    found = {}
    for key, value in values.items():
        param = options.get(key.replace("-", "_"))
        if param is None:
            raise typer.BadParameter(f"{path}: {_unknown(key, options)}")
        _check_kind(path, key, value, param)
        found[str(param.name)] = value
    return found


def _unknown(key: str, options: Mapping[str, Any]) -> str:
    names = sorted({name.replace("_", "-") for name in options})
    near = difflib.get_close_matches(key.replace("_", "-"), names, n=1, cutoff=0.5)
    if near:
        return f"unknown key {key!r}; did you mean {near[0]!r}?"
    return f"unknown key {key!r}; known are {', '.join(names)}."


def _check_kind(path: str, key: str, value: object, param: Any) -> None:
    """Refuse what the command line could not say: a number for a switch, a list for one value."""
    is_switch = bool(getattr(param, "is_flag", False))
    takes_list = bool(getattr(param, "multiple", False)) or param.nargs != 1
    wanted = "true or false" if is_switch else "a list" if takes_list else "one value"
    if isinstance(value, bool) != is_switch or isinstance(value, list) != takes_list:
        raise typer.BadParameter(f"{path}: {key} must be {wanted}, got {value!r}.")
    if isinstance(value, dict):
        raise typer.BadParameter(f"{path}: {key} is a table; options are at the top level.")

"""Reading the files of `cluster-configs`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer.main
import yaml

from atlasjobs.cli import app
from atlasjobs.verb_call import VerbCall, verb_call

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def documents(path: Path) -> dict[str, dict[str, Any]]:
    """The documents of a YAML file by kind."""
    return {document["kind"]: document for document in yaml.safe_load_all(path.read_text())}


def parsed(words: Sequence[str]) -> VerbCall:
    """A verb's command line as `submit` sees it."""
    return verb_call(typer.main.get_group(app).make_context("atlasbasset", [words[0]]), words)

"""The page that browses tracks, and what it needs: igv.js from the package that brings it."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlasbasset.verbs.shared.track_set import TRACKS
from atlasstore.errors import MissingExtraError, extra_packages

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["IGV_FILES", "igv_files", "write_page"]

_OWN = Path(__file__).parent / "page"
IGV_FILES = ("igv.js", "igv-LICENSE.md")


def igv_files() -> tuple[Path, Path]:
    """Return the files of igv.js and of its licence in package igv_notebook, which is not imported.

    Raises
    ------
    MissingExtraError
        It is not installed, or has no igv.js.
    """
    spec = importlib.util.find_spec("igv_notebook")
    folder = None if spec is None or spec.origin is None else Path(spec.origin).parent
    script = None if folder is None else folder / "js" / "igv.iife.js"
    if folder is None or script is None or not script.is_file():
        raise MissingExtraError(
            "A page of tracks needs igv.js from igv_notebook, which is not installed; run: pip "
            f"install {extra_packages('tracks')}."
        )
    licences = sorted(folder.parent.glob("igv_notebook-*.dist-info/**/LICENSE*"))
    return script, licences[0] if licences else folder / "VERSION_IGV"


def write_page(folder: Path, about: Mapping[str, Any]) -> None:
    """Write the page, igv.js and ``tracks.json`` into a folder; the page itself comes last."""
    for source, name in zip(igv_files(), IGV_FILES, strict=True):
        shutil.copyfile(source, folder / name)
    for name in ("page.css", "page.js"):
        shutil.copyfile(_OWN / name, folder / name)
    text = json.dumps(about, indent=1, ensure_ascii=False)
    (folder / TRACKS).write_text(text + "\n", encoding="utf-8")
    shutil.copyfile(_OWN / "index.html", folder / "index.html")

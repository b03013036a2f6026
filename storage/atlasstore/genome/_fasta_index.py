"""Finding a FASTA's index: next to it if current, else in the user's cache folder."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import pyfaidx

__all__ = ["IndexFiles", "index_files"]


class IndexFiles(NamedTuple):
    """The two index files; a plain FASTA has no ``.gzi``."""

    fai: Path
    gzi: Path


def index_files(fasta: Path) -> IndexFiles:
    """Return current index files of `fasta`, building them where there are none."""
    beside = _files_in(fasta.parent, fasta)
    if _are_current(beside, fasta):
        return beside
    folder = _cache_folder(fasta)
    cached = _files_in(folder, fasta)
    return cached if _are_current(cached, fasta) else _build(fasta, folder)


def _files_in(folder: Path, fasta: Path) -> IndexFiles:
    return IndexFiles(folder / f"{fasta.name}.fai", folder / f"{fasta.name}.gzi")


def _are_current(files: IndexFiles, fasta: Path) -> bool:
    needed = files if fasta.suffix.lower() in (".gz", ".bgz") else files[:1]
    made = fasta.stat().st_mtime
    return all(file.is_file() and file.stat().st_mtime >= made for file in needed)


def _cache_folder(fasta: Path) -> Path:
    """Return a folder of the FASTA's path, size and time: a changed file gets a new one."""
    state = fasta.stat()
    key = f"{fasta.resolve()}|{state.st_size}|{state.st_mtime_ns}"
    name = hashlib.sha256(key.encode()).hexdigest()[:16]
    return _cache_root() / "atlasbasset" / "genomes" / name


def _cache_root() -> Path:
    named = os.environ.get("XDG_CACHE_HOME")
    root = Path(named) if named else Path.home() / ".cache"
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.gettempdir())
    return root if os.access(root, os.W_OK) else Path(tempfile.gettempdir())


def _build(fasta: Path, folder: Path) -> IndexFiles:
    """Build the index under a name of its own, then move it: a reader never sees half an index."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        built = _files_in(Path(scratch), fasta)
        pyfaidx.Faidx(str(fasta), indexname=str(built.fai), gzi_indexname=str(built.gzi)).close()
        folder.mkdir(exist_ok=True)
        final = _files_in(folder, fasta)
        for made, place in zip(built, final, strict=True):
            if made.is_file():
                made.replace(place)
    return final

"""The files on this machine that an input of ``preprocess`` is made of.

A pattern stands for what it matches, a sample sheet for what it lists, a 10x matrix for its
barcodes and peaks too.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from atlasstore.files import urls

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["files_of_input"]


def files_of_input(given: str, *, is_own: Callable[[str], bool]) -> list[str]:
    """Return the relative paths of the files of an input that is on this machine alone.

    Parameters
    ----------
    given
        As typed: a relative path or pattern.
    is_own
        Whether a path or URL that a sample sheet lists is on this machine alone, too.

    Raises
    ------
    UserInputError
        A pattern matches nothing, a sheet is wrong, or a 10x matrix has no barcodes or peaks.
    """
    from atlasstore.inputs.sample_sheet import is_sample_sheet
    from atlasstore.inputs.samples import plan_samples

    if ".." in Path(given).parts or _is_missing(given):
        return [given]
    samples = plan_samples([given])
    if not is_sample_sheet(given):
        return [file for sample in samples for file in _parts(_below_here(sample.url))]
    listed = [one for sample in samples for one in (sample.url, sample.barcodes) if one is not None]
    return [given, *(file for one in listed if is_own(one) for file in _parts(one))]


def _is_missing(path: str) -> bool:
    return not any(sign in path for sign in "*?[") and not Path(path).exists()


def _parts(path: str) -> list[str]:
    from atlasstore.inputs.bam import bam_files
    from atlasstore.inputs.tenx_folder import triplet_files

    if ".." in Path(path).parts or _is_missing(path):
        return [path]
    found = bam_files(path) if urls.path_end(path).endswith(".bam") else triplet_files(path)
    return [_below_here(one) for one in found]


def _below_here(path: str) -> str:
    """Return what a pattern matches, which is absolute, as the relative path of before."""
    return path.removeprefix(f"{Path.cwd()}/")

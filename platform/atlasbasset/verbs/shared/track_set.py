"""Reading the folder of tracks that `tracks` made: values of groups along the genome."""

from __future__ import annotations

import gzip
import io
import math
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from atlasbasset.extras import needed
from atlasbasset.verbs.shared.regions import parsed_region
from atlasstore.errors import CorruptStoreError, NotAStoreError, UserInputError
from atlasstore.files import urls
from atlasstore.files.json_text import parsed_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from atlasbasset.verbs.shared.regions import Region

__all__ = ["TRACKS", "TrackSet", "bigtools", "pieces"]

TRACKS = "tracks.json"
"""The file that says what is in the folder."""
_GENE_COLUMNS = ("chrom", "start", "end", "gene_name", "score", "strand")


def bigtools() -> Any:
    """Return pybigtools, or raise MissingExtraError."""
    return needed("pybigtools", extra="tracks", purpose="bigWig files")


@dataclass(frozen=True, eq=False)
class TrackSet:
    """Groups of cells, and a file of each for every kind of track."""

    url: str
    about: Mapping[str, Any]
    """What the folder says of itself."""
    _files: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, url: str | Path) -> TrackSet:
        """Open the folder at a path or URL.

        Raises
        ------
        NotAStoreError
            There are no tracks in it.
        CorruptStoreError
            What it says of itself cannot be read.
        """
        try:
            found = cls(str(url), parsed_json(urls.read_bytes(urls.join(url, TRACKS))))
            found.chosen(None, None)
        except NotAStoreError as error:
            raise NotAStoreError(
                f"{url} has no {TRACKS}; give a folder that `atlasbasset tracks` made."
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptStoreError(
                f"{url}: {TRACKS} cannot be read; make the tracks again or copy them again."
            ) from error
        return found

    @property
    def groups(self) -> dict[str, dict[str, Any]]:
        """Name -> number of cells, colour and files."""
        return {group["name"]: group for group in self.about["groups"]}

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of tracks: denoised, observed, predicted."""
        return tuple(kind["name"] for kind in self.about["kinds"])

    def chosen(self, groups: Sequence[str] | None, kinds: Sequence[str] | None) -> tuple[Any, Any]:
        """Return names of groups and kinds, all where None.

        Raises
        ------
        UserInputError
            One is not there.
        """
        return _members(self.groups, groups, "group"), _members(self.kinds, kinds, "kind")

    @cached_property
    def lengths(self) -> dict[str, int]:
        """Of the chromosomes by name."""
        text = self._read(self.about["chromosomes"]).decode()
        rows = (line.split("\t") for line in text.splitlines())
        return {name: int(length) for name, length in rows}

    def region(self, text: str) -> Region:
        """Return a region by name, 0-based half-open."""
        return parsed_region(text.replace("_", ""), self.lengths)

    @property
    def loci(self) -> tuple[Region, ...]:
        """Peaks that differ most between groups, each highest in another group, the first first."""
        return tuple(self.region(text) for text in self.about.get("loci") or ())

    @cached_property
    def genes(self) -> pd.DataFrame | None:
        """chrom, start, end, gene_name, score, strand; None where the folder has none."""
        files = {one["name"]: one["file"] for one in self.about["annotations"]}
        if "Genes" not in files:
            return None
        text = gzip.decompress(self._read(files["Genes"]))
        return pd.read_csv(io.BytesIO(text), sep="\t", header=None, names=list(_GENE_COLUMNS))

    def values(self, group: str, kind: str, place: Region, **summary: Any) -> NDArray[np.float64]:
        """Return the values of a region, NaN where there is none.

        Returns
        -------
        numpy.ndarray
            float64, one for each base; with ``bins=n, summary="max"`` one for each bin.
        """
        reader = self._reader(self.groups[group]["files"][kind])
        try:
            found = reader.values(place.chrom, place.start, place.end, fillna=math.nan, **summary)
        except KeyError:  # nothing lies on the chromosome
            found = np.full(summary.get("bins", place.end - place.start), math.nan)
        return np.asarray(found, np.float64)

    def _reader(self, file: str) -> Any:
        if file not in self._files:
            url = urls.join(self.url, file)
            fs, path = urls.filesystem(url)
            is_here = urls.is_local(url)
            source = str(urls.local_path(url)) if is_here else fs.open(path, "rb")
            self._files[file] = bigtools().open(source)
        return self._files[file]

    def _read(self, file: str) -> bytes:
        return urls.read_bytes(urls.join(self.url, file))


def _members(known: Any, names: Sequence[str] | None, what: str) -> list[str]:
    for name in names or ():
        if name not in known:
            raise UserInputError(
                f"there is no {what} {name!r}; the tracks have {', '.join(known)}."
            )
    return list(known if names is None else names)


def pieces(values: NDArray[np.float64], start: int) -> list[tuple[int, int, float]]:
    """Return stretches (start, end, value) of equal values of bases, those without one left out.

    Parameters
    ----------
    values
        float64, one for each base, NaN where there is none.
    start
        Position of the first.
    """
    known = np.nan_to_num(values, nan=-math.inf)
    inner = np.flatnonzero(known[1:] != known[:-1]) + 1
    edges = [0, *inner.tolist(), len(values)]
    rows = pairwise(edges)
    return [(start + a, start + b, float(values[a])) for a, b in rows if not math.isnan(values[a])]

"""What a file that is no store of ours is: AnnData, motifs, tables, reports, folders.

Each kind is told from its name and first bytes. What tells sizes is read and no more: of an AnnData
its tables' outlines, never X. So is what reads it imported: h5py is not where a table is looked at.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import zarr

from atlasstore.errors import AccessDeniedError, NotAStoreError
from atlasstore.files import urls
from atlasstore.files.json_text import parsed_json
from atlasstore.inspect_outputs import (
    Described,
    describe_bigwig,
    describe_finished,
    describe_our_folder,
    page_format,
    table_format,
)
from atlasstore.inspect_text import describe_fasta, describe_text
from atlasstore.resume.ledger import is_begun

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Described", "describe_file", "describe_folder", "describe_group", "is_group"]

_LISTED = 12
_NAMES = 2
_ROOTS = ("zarr.json", ".zgroup")


def describe_file(url: str) -> Described:
    """Say what a file is.

    Raises
    ------
    NotAStoreError
        It is of no kind that is known here.
    UserInputError
        It is damaged.
    """
    name = urls.path_end(url)
    for suffixes, describe in _BY_NAME.items():
        if name.removesuffix(".gz").endswith(suffixes):
            return describe(url)
    known = ", ".join(suffix for suffixes in _BY_NAME for suffix in suffixes)
    raise NotAStoreError(
        f"{url} is no store and ends in none of {known}; what is described are atlases, models, "
        "results, folders of ours, and files of these kinds."
    )


def describe_folder(url: str) -> Described | None:
    """Say what a folder is that is no store of ours; None where it may be an unfinished one."""
    names = urls.list_names(url)
    if not set(_ROOTS).isdisjoint(names):
        return describe_group(url)
    if (ours := describe_our_folder(url, names)) is not None:
        return ours
    if not names or urls.path_end(url).endswith((".zarr", ".partial")) or is_begun(url):
        return None
    return Described("folder", {"n_files": len(names), "files": sorted(names)[:_LISTED]})


def describe_group(url: str) -> Described | None:
    """Say what a zarr group is; None where it may be a store of ours."""
    return _anndata(url) if _is_others_anndata(url) else None


def is_group(url: str) -> bool:
    """Whether a zarr group's metadata is below `url`."""
    with suppress(AccessDeniedError):  # so some servers say that nothing is there
        return any(urls.exists(urls.join(url, name)) for name in _ROOTS)
    return False


def _is_others_anndata(url: str) -> bool:
    """Whether a root says so; one that cannot be read may be a store of ours, which says why."""
    try:
        attrs = zarr.open_group(urls.zarr_store(url, read_only=True), mode="r").attrs.asdict()
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError, AccessDeniedError):
        return False
    return attrs.get("encoding-type") == "anndata" and "format" not in attrs


def _anndata(url: str) -> Described:
    from atlasstore.inputs.anndata_file import anndata_group
    from atlasstore.inputs.hdf5 import readable

    with anndata_group(url, name=url) as group, readable(url, what="an outline"):
        columns = {part: _columns(group[part]) for part in ("obs", "var")}
        sizes = {
            "n_obs": _n_rows(group["obs"]),
            "n_vars": _n_rows(group["var"]),
            "X": _matrix(group["X"]) if "X" in group else None,
            "obs_columns": columns["obs"],
            "var_columns": columns["var"],
            "obs_names": _names(group["obs"], url),
            "var_names": _names(group["var"], url),
            "obsm": {key: _width(group["obsm"][key]) for key in group.get("obsm", ())},
            "layers": sorted(group.get("layers", ())),
        }
        about = _about(group, url)
    return Described("AnnData", sizes, about)


def _columns(table: Any) -> list[str]:
    return [str(name) for name in table.attrs["column-order"]]


def _n_rows(table: Any) -> int:
    index = table[str(table.attrs["_index"])]
    return int((index["codes"] if "codes" in _members(index) else index).shape[0])


def _names(table: Any, url: str) -> list[str]:
    """Return the first names; none where they are categories."""
    from atlasstore.inputs.declared import check_inside

    index = table[str(table.attrs["_index"])]
    if "codes" in _members(index):
        return []
    check_inside(index, name=url, whole=False)
    first = index[:_NAMES].tolist()
    return [one.decode() if isinstance(one, bytes) else str(one) for one in first]


def _members(node: Any) -> Any:
    return () if hasattr(node, "dtype") else node


def _matrix(x: Any) -> str:
    if hasattr(x, "dtype"):
        return f"dense {x.dtype}"
    return (
        f"{x.attrs.get('encoding-type', 'sparse')} {x['data'].dtype}, {x['data'].shape[0]:,} stored"
    )


def _width(node: Any) -> int | None:
    if hasattr(node, "shape"):
        return int(node.shape[1])
    return len(node.attrs["column-order"]) if "column-order" in node.attrs else None


def _about(group: Any, url: str) -> dict[str, Any]:
    """Return the provenance that `embed` wrote; empty where another program wrote the file."""
    place = "uns/scbasset/provenance"
    if place not in group:
        return {}
    from atlasstore.inputs.declared import check_inside

    check_inside(group[place], name=url)
    text = group[place][()]
    found = parsed_json(text.decode() if isinstance(text, bytes) else str(text))
    return dict(found) if isinstance(found, dict) else {}


def _motifs(url: str) -> Described:
    from atlasstore.genome.motifs import read_meme

    motifs = read_meme(url)
    widths = [motif.width for motif in motifs]
    sizes = {
        "n_motifs": len(motifs),
        "width_bp": f"{min(widths)} to {max(widths)}",
        "tfs": [motif.tf for motif in motifs[:_LISTED]],
    }
    return Described("MEME motifs", sizes)


def _parquet(url: str) -> Described:
    from pyarrow import parquet

    from atlasstore.inputs.hdf5 import readable

    fs, path = urls.filesystem(url)
    with fs.open(path, "rb") as file, readable(url, what="a parquet footer"):
        found = parquet.read_metadata(file)
        columns = [str(name) for name in found.schema.names]
        form = f"{table_format(columns)} (parquet)"
        return Described(form, {"n_rows": found.num_rows, "columns": columns})


def _json(url: str) -> Described:
    from atlasstore.inputs.hdf5 import readable

    with readable(url, what="JSON"):
        values = parsed_json(urls.read_bytes(url))
    keys = list(values) if isinstance(values, dict) else []
    scalars = {k: v for k, v in dict(values).items() if isinstance(v, str | int | float)}
    return Described("JSON", {"keys": keys, **scalars})


def _record(url: str) -> Described:
    with suppress(ValueError):  # ours has its checksum behind it
        parsed_json(urls.read_bytes(url))
        return _json(url)
    return describe_finished(url)


def _hdf5(url: str) -> Described:
    from atlasstore.inputs.hdf5 import open_hdf5, readable

    with open_hdf5(url) as file, readable(url, what="HDF5 groups"):
        shapes: dict[str, str] = {}
        file.visititems(
            lambda name, item: (
                shapes.update({name: " x ".join(map(str, item.shape))})
                if hasattr(item, "shape")
                else None
            )
        )
    return Described(
        "HDF5", {"n_arrays": len(shapes), "arrays": dict(list(shapes.items())[:_LISTED])}
    )


def _page(url: str) -> Described:
    text = urls.read_bytes(url)[: 1 << 16].decode(errors="replace")
    title = text.partition("<title>")[2].partition("</title>")[0].strip()
    return Described(page_format(text), {"title": title or None})


_BY_NAME: Mapping[tuple[str, ...], Callable[[str], Described]] = {
    (".h5ad", ".h5mu"): _anndata,
    (".meme",): _motifs,
    (".csv", ".tsv", ".bed", ".narrowpeak"): describe_text,
    (".fa", ".fasta", ".fna"): describe_fasta,
    (".parquet",): _parquet,
    (".job.json",): _record,
    (".json",): _json,
    (".h5", ".hdf5"): _hdf5,
    (".html",): _page,
    (".bw", ".bigwig"): describe_bigwig,
}
"""Ends of names -> what describes such a file."""

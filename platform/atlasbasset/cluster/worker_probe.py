"""What a worker finds where it will run: versions, GPUs, memory, and whether storage opens.

Asked on the cluster, with the workers' own credentials: the driver is on the head, which may have
neither GPUs nor memory.
"""

from __future__ import annotations

import platform
import socket
import uuid
from dataclasses import dataclass, replace
from glob import has_magic
from typing import TYPE_CHECKING, Any

from atlasstore import memory
from atlasstore.errors import AtlasError, NotAStoreError, UserInputError
from atlasstore.files import remote, urls
from atlasstore.sharing.hub import HUB, check_sign_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["WorkerFound", "look_around", "probe_worker"]

_METADATA = ("zarr.json", ".zattrs", ".zgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFound:
    """What one worker found on its node."""

    node: str
    """The node's name."""
    versions: Mapping[str, str]
    """Of Python and of the packages that all workers and the driver must share."""
    free_bytes: int
    """Memory that is free on the node, in bytes."""
    gpu_names: tuple[str, ...] = ()
    gpu_bytes: int | None = None
    """Free memory of the worker's first GPU, in bytes."""
    workers_on_node: int = 1
    """Such workers that the node has room for; they share its memory."""
    faults: tuple[str, ...] = ()
    """A sentence for each place that does not open."""


def look_around(reads: Sequence[str] = (), writes: Sequence[str] = ()) -> WorkerFound:
    """Return what is found on this node.

    Parameters
    ----------
    reads
        Paths and URLs of which a little is read.
    writes
        Paths and URLs next to which a file is written, read and removed.
    """
    import torch

    gpus = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    faults = [*map(_fault_of_reading, reads), *map(_fault_of_writing, writes)]
    return WorkerFound(
        node=socket.gethostname(),
        versions=own_versions(),
        free_bytes=memory.free_bytes(),
        gpu_names=tuple(torch.cuda.get_device_name(gpu) for gpu in gpus),
        gpu_bytes=int(torch.cuda.mem_get_info(0)[0]) if gpus else None,
        faults=tuple(fault for fault in faults if fault),
    )


def own_versions() -> dict[str, str]:
    """Return the versions that must be equal on all nodes."""
    from importlib.metadata import version

    python = ".".join(platform.python_version_tuple()[:2])
    return {"Python": python} | {name: version(name) for name in ("ray", "torch", "atlasbasset")}


def probe_worker(cpus: float, gpus: float, *, wait_s: float = 600.0) -> WorkerFound:
    """Return what a worker finds that reserves so much, on the Ray that is joined.

    Parameters
    ----------
    cpus, gpus
        What it reserves.
    wait_s
        How long the cluster may take to have it, in seconds.

    Raises
    ------
    UserInputError
        The cluster does not get it in time.
    AtlasError
        No worker could look.
    """
    import ray

    look: Any = ray.remote(_look_and_count).options(num_cpus=cpus, num_gpus=gpus)
    asked = look.remote(cpus, gpus)
    if not ray.wait([asked], timeout=wait_s)[0]:
        ray.cancel(asked)
        raise UserInputError(
            f"the cluster has no place for a worker of {cpus:g} CPUs and {gpus:g} GPUs; ask for "
            "smaller workers, or add nodes."
        )
    try:
        found: WorkerFound = ray.get(asked)
    except ray.exceptions.RayError as error:
        raise probe_failure(error) from error
    return found


def _look_and_count(cpus: float, gpus: float) -> WorkerFound:
    """Look around on this node, and count the workers that fit on it."""
    import ray

    own = ray.get_runtime_context().get_node_id()
    (has,) = [node["Resources"] for node in ray.nodes() if node["NodeID"] == own]
    fits = [has.get("CPU", 0) // cpus, *([has.get("GPU", 0) // gpus] if gpus else [])]
    return replace(look_around(), workers_on_node=max(1, int(min(fits))))


def probe_failure(error: Exception) -> AtlasError:
    """Return the sentence for a worker that could not look around."""
    last = str(error).strip().splitlines()[-1].strip().rstrip(".")
    return AtlasError(
        f"a worker cannot run atlasbasset ({last}); install the same version on every node, or "
        "ship it by --wheel."
    )


def _fault_of_reading(url: str) -> str:
    try:
        _read_a_little(url)
    except AtlasError as error:
        return f"{socket.gethostname()} cannot read {url}: {_brief(error)}"
    except OSError as error:
        return f"{socket.gethostname()} cannot read {url}: {_brief(error)}"
    return ""


def _read_a_little(url: str) -> None:
    fs, path = urls.filesystem(url)
    with remote.outage_errors(url):
        if not fs.exists(path):
            path = _first_match(fs, path, url)
        if fs.isdir(path):
            names = [name for name in _METADATA if fs.exists(f"{path}/{name}")]
            path = f"{path}/{names[0]}" if names else ""
        if path:
            fs.cat_file(path, start=0, end=16)


def _first_match(fs: Any, path: str, url: str) -> str:
    """Return the first path that a pattern matches."""
    if not has_magic(urls.path_end(url)):
        raise NotAStoreError("it does not exist there")
    found = sorted(map(str, fs.glob(path)))
    if not found:
        raise NotAStoreError("it matches nothing there")
    return found[0].rstrip("/")


def _fault_of_writing(url: str) -> str:
    if url.startswith(HUB):  # takes commits alone: it is asked who we are
        return _fault_of_pushing(url)
    folder, _, name = url.rstrip("/").rpartition("/")
    trial = urls.join(_present(folder or "."), f".{name}.{uuid.uuid4().hex}.trial")
    try:
        urls.write_bytes(trial, b"atlasbasset")
        if urls.read_bytes(trial) != b"atlasbasset":
            return f"{socket.gethostname()} reads other bytes than it wrote next to {url}"
    except (AtlasError, OSError) as error:
        return f"{socket.gethostname()} cannot write next to {url}: {_brief(error)}"
    finally:
        _remove(trial)
    return ""


def _present(folder: str) -> str:
    """Return the nearest folder above that is there: made ones would be left behind.

    Nor can they be removed, since other workers may be writing into them.
    """
    if not urls.is_local(folder):
        return folder
    path = urls.local_path(folder)
    return str(next((one for one in (path, *path.parents) if _is_there(one)), path))


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # behind a folder that is closed to this process
        return False


def _fault_of_pushing(url: str) -> str:
    try:
        check_sign_in(url)
    except AtlasError as error:
        return f"{socket.gethostname()} cannot push to {url}: {_brief(error)}"
    return ""


def _remove(url: str) -> None:
    try:
        urls.delete(url)
    except (AtlasError, OSError):
        return  # what could not be written need not be removed


def _brief(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")

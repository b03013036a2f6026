"""A job as a file: a KubeRay manifest, or a Slurm script that starts Ray in its allocation."""

from __future__ import annotations

import json
import math
import shlex
from dataclasses import dataclass, field
from importlib import resources
from importlib.metadata import version
from itertools import starmap
from string import Template
from typing import TYPE_CHECKING

from atlasstore.errors import UserInputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["JobFile", "entrypoint", "rayjob", "slurm_script"]

_HEAD_ALONE = ("8", "32Gi", "The verb runs in this pod.")
_HEAD_OF_WORKERS = ("2", "8Gi", "The driver holds plans and metrics, no arrays.")
_SPARE_CPUS = 2
"""Of a node beside its worker's: for Ray, and for reading ahead."""
_MEMORY_GB = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFile:
    """What the file of a job must say."""

    words: Sequence[str]
    """The verb and its arguments."""
    workers: int
    """One on each node; 0: the verb works in its own process."""
    cpus: float
    """Of a worker."""
    gpus: float
    wait_s: float = 1200.0
    """How long the nodes may take to come."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Environment variables of the job and its workers; whoever sees the file sees them."""

    @property
    def name(self) -> str:
        """What the job is called."""
        return f"atlasbasset-{self.words[0]}"

    @property
    def node_cpus(self) -> int:
        """Cores of a node."""
        return math.ceil(self.cpus) + _SPARE_CPUS


def entrypoint(words: Sequence[str], wait_s: float) -> str:
    """Return the shell command that checks the cluster and runs the verb."""
    return f"python -m atlasjobs.on_cluster --wait {wait_s:g} -- {shlex.join(words)}"


def rayjob(job: JobFile) -> str:
    """Return the manifest: one RayJob, its cluster included, and its service account.

    Raises
    ------
    UserInputError
        The shell that submits the command in the cluster would change a variable.
    """
    cpus, memory, said = _HEAD_OF_WORKERS if job.workers else _HEAD_ALONE
    values = {
        "VERB": job.words[0],
        "NAME": job.name,
        "ENTRYPOINT": entrypoint(job.words, job.wait_s),
        "VARIABLES": "".join(starmap(_yaml_item, job.variables.items())),
        "IMAGE": f"REGISTRY/atlasbasset:{version('atlasbasset')}",
        "RAY": version("ray"),
        "HEAD_CPUS": cpus,
        "HEAD_MEMORY": memory,
        "HEAD_SAID": said,
        "GROUP": "gpu" if job.gpus else "cpu",
        "WORKERS": str(job.workers),
        "CPUS": str(job.node_cpus),
        "MEMORY": f"{_MEMORY_GB}Gi",
        "GPUS": f', "nvidia.com/gpu": {math.ceil(job.gpus)}' if job.gpus else "",
        "GPU_NODE": _template("rayjob-gpu-node.yaml").template if job.gpus else "",
    }
    parts = ["rayjob.yaml", *(["rayjob-workers.yaml"] if job.workers else [])]
    return "".join(_template(part).substitute(values) for part in parts)


def _yaml_item(name: str, value: str) -> str:
    """Return one more item of a flow mapping; JSON is YAML."""
    if any(sign in value for sign in "$`"):
        raise UserInputError(
            f"{name} has a $ or a backquote, which the shell that submits the command in the "
            "cluster takes for its own; keep it in a Secret that the pods name."
        )
    return f", {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}"


def slurm_script(job: JobFile) -> str:
    """Return the script for ``sbatch``: a worker on each node, the driver on the first.

    Raises
    ------
    UserInputError
        Workers share a GPU, which an allocation of whole GPUs cannot say.
    """
    if job.gpus != int(job.gpus):
        raise UserInputError(f"Slurm gives whole GPUs to a worker, got {job.gpus:g}.")
    gpus = int(job.gpus)
    values = {
        "VERB": job.words[0],
        "NAME": job.name,
        "ENTRYPOINT": entrypoint(job.words, job.wait_s),
        "EXPORTS": "".join(
            f"export {name}={shlex.quote(value)}\n" for name, value in job.variables.items()
        ),
        "NODES": str(max(1, job.workers)),
        "CPUS": str(job.node_cpus),
        "GPUS": str(gpus),
        "GPU_LINE": f"#SBATCH --gpus-per-node={gpus}\n" if gpus else "",
        "MEMORY": f"{_MEMORY_GB}G",
    }
    return _template("slurm.sh").substitute(values)


def _template(name: str) -> Template:
    file = resources.files("atlasbasset.cluster") / "templates" / name
    return Template(file.read_text(encoding="utf-8"))

"""Each fault against each phase: is the result the undisturbed one, what is done twice, how long.

    PYTHONPATH=tests python benchmarks/fault_table.py                 # every cell; half an hour
    PYTHONPATH=tests python benchmarks/fault_table.py --faults driver SIGTERM --phases denoise
    PYTHONPATH=tests python benchmarks/fault_table.py --show          # the table of the newest rows

Trials are those of the soak (`tests/soak`) at fixed moments: in the midst of the phase, or before
publishing.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import harness
import numpy as np

from atlasstore.errors import CorruptStoreError
from atlasstore.inspect_store import inspect_store
from soak import faults
from soak.driver import OWN_DISK
from soak.stage import stage
from soak.trial import tried

if TYPE_CHECKING:
    from collections.abc import Callable

    from soak.faults import Scene
    from soak.stage import Stage
    from soak.trial import Outcome

PHASES = ("preprocess", "train", "map", "denoise", "motifs", "ism", "publish")
NAME = "fault_table"
ON_RAY = {**faults.OF_WORKERS, **faults.OF_NODES, **faults.OF_CLUSTERS}
IN_BUCKET = {**faults.IN_STORAGE, "expired credentials": faults.AND_LASTING["expired credentials"]}
FAULTS: dict[str, Callable[[Scene], None]] = {
    **faults.HERE,
    **IN_BUCKET,
    **faults.OF_DISKS,
    **ON_RAY,
}
DIFFERS = "the result differs from the undisturbed one"
VERIFY = "inspect --verify"
NO_WORKER = "the driver alone publishes"
AS_DRIVER = "the head takes the driver along, who alone publishes"


def why_not(fault: str, phase: str) -> str:
    """Return why a fault does not apply to a phase; empty where it does."""
    if phase != "publish" or fault not in ON_RAY:
        return ""
    return AS_DRIVER if fault == "head" else NO_WORKER


def measured(place: Stage, fault: str, phase: str) -> Outcome:
    """Strike a phase once."""
    verb = "denoise" if phase == "publish" else phase
    on_ray = fault in ON_RAY
    workers = 2 if on_ray else 0
    alone = workers if verb == "train" else 0
    expected, n_events, _ = place.reference(verb, alone, ray=False)
    where = {"in_bucket": on_ray or fault in IN_BUCKET, "workers": workers, "ray": on_ray}
    moment = 0 if phase == "publish" else max(1, n_events // 2)
    folder = f"{OWN_DISK}/" if fault == "disk full" else ""
    task = place.task(verb, f"{folder}{phase}", moment=moment, **where)
    with place.scene(task, np.random.default_rng(0), is_doomed=not on_ray) as scene:
        scene.longest_wait_s = 0.0
        found = tried(scene, FAULTS[fault], expected)
        if DIFFERS in found.problems and (said := verified(task.out)):
            found.problems.remove(DIFFERS)
            found.said.append(f"{VERIFY}: {said}")
        return found


def verified(url: str) -> str:
    """Return what ``inspect --verify`` finds wrong with a store."""
    try:
        inspect_store(url, verify=True)
    except CorruptStoreError as error:
        return str(error)
    return ""


def as_row(place: Stage, fault: str, phase: str, found: Outcome) -> dict[str, Any]:
    """Return the row of a cell."""
    verb = "denoise" if phase == "publish" else phase
    _, n_events, _ = place.undisturbed[verb, found.task.workers if verb == "train" else 0, False]
    reruns = len([text for text in found.said if not text.startswith(("second", VERIFY))])
    return harness.row(
        NAME,
        fault,
        phase,
        "s",
        found.before,
        [found.recovery_s],
        repeated=max(0, found.after + (found.before if reruns else 0) - n_events),
        commands=1 + reruns,
        at=found.where,
        said=[text.replace(place.disk.root, "DISK")[:300] for text in found.said],
        problems=found.problems,
        n_events=n_events,
    )


def main() -> None:
    given = _arguments()
    if given.show:
        print(table())
        return
    cells = [(f, p) for f in given.faults for p in given.phases if not why_not(f, p)]
    needs_ray = any(fault in ON_RAY for fault, _ in cells)
    with (
        tempfile.TemporaryDirectory(prefix="faults-") as folder,
        stage(Path(folder), ray=needs_ray, sooner=False) as place,
    ):
        Path(place.disk.root, OWN_DISK).mkdir()
        for fault, phase in cells:
            _disk_for(place, fault)
            try:
                found = measured(place, fault, phase)
            except Exception as error:  # noqa: BLE001 - the other cells are measured
                print(f"{fault} x {phase}: {type(error).__name__}: {error}", flush=True)
                continue
            harness.append(NAME, [as_row(place, fault, phase, found)])
            print(phase, found.said, found.problems, flush=True)


def _disk_for(place: Stage, fault: str) -> None:
    place.settings.pop(OWN_DISK, None)
    if fault == "disk full":
        place.settings[OWN_DISK] = f"{place.disk.root}/{OWN_DISK}"


def table() -> str:
    """Return the newest row of each cell as a Markdown table."""
    with (harness.RESULTS / f"{NAME}.csv").open() as file:
        cells = {(row["provider"], row["metric"]): row for row in csv.DictReader(file)}
    lines = [f"| fault | {' | '.join(PHASES)} |", "|---" * (1 + len(PHASES)) + "|"]
    for fault in FAULTS:
        found = [_cell(fault, phase, cells.get((fault, phase))) for phase in PHASES]
        lines.append(f"| {fault} | {' | '.join(found)} |")
    return "\n".join(lines)


def _cell(fault: str, phase: str, row: dict[str, str] | None) -> str:
    if reason := why_not(fault, phase):
        return "as driver" if reason == AS_DRIVER else "-"
    if row is None:
        return "not run"
    about = json.loads(row["config"])
    if about["problems"]:
        return "; ".join(about["problems"])
    if any(text.startswith(VERIFY) for text in about["said"]):
        return "published; `inspect --verify` names the shard"
    again = f", {about['commands']} commands" if about["commands"] > 1 else ""
    return f"{float(row['p50']):.0f} s, {about['repeated']} twice{again}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", nargs="+", default=list(FAULTS), choices=list(FAULTS))
    parser.add_argument("--phases", nargs="+", default=list(PHASES), choices=PHASES)
    parser.add_argument("--show", action="store_true", help="print the table; run nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""``python -m fuzz``: damaged and odd inputs for every reader, until the time is over.

The seed is printed; the same seed draws the same changes of each target, but how many follows from
the time. Exit code 1 where there is a finding: its changes and files are kept for ``--replay``.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz.run import FINDINGS, Tally, fuzz, replay
from fuzz.targets import TARGETS
from fuzz.worker import Outcome, Worker

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROUND_SECONDS = 8.0
_MOST_EXAMPLES = 1500
_COLUMNS = ("inputs", "refused", "other", "equal", "unchanged", *FINDINGS)


def main() -> int:
    """Fuzz, or replay a finding; return the exit code."""
    given = _arguments()
    warnings.simplefilter("ignore")
    gc.freeze()  # what was imported is not looked through again by every collection
    if given.replay is not None:
        return _replay(given.replay)
    names = [n for n in TARGETS if not given.target or any(t in n for t in given.target)]
    if given.examples:
        given.seconds = float("inf")
    print(f"seed {given.seed}, {given.seconds:g} s, {given.jobs} processes", flush=True)
    work = [(names[i :: given.jobs], given, i) for i in range(given.jobs)]
    with multiprocessing.get_context("fork").Pool(given.jobs) as pool:
        tallies = [t for part in pool.starmap(_share, work) for t in part]
    return _report(sorted(tallies, key=lambda t: list(TARGETS).index(t.name)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300, help="wall time [300]")
    parser.add_argument("--examples", type=int, help="of each target, in place of a time")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32, help="[of the clock]")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="[2]")
    parser.add_argument("--saved", type=Path, default=Path("fuzz-findings"), help="for findings")
    parser.add_argument("--replay", type=Path, help="a folder of a finding")
    parser.add_argument("target", nargs="*", help="parts of names of targets [all]")
    return parser.parse_args()


def _share(names: Sequence[str], given: argparse.Namespace, job: int) -> list[Tally]:
    """Fuzz the target that had the least time, a round at a time, until the time is over."""
    workers = {name: Worker(TARGETS[name]) for name in names}
    until = time.monotonic() + given.seconds
    tallies = {name: Tally(name) for name in names}
    turns = dict.fromkeys(names, 0)
    try:
        while (left := until - time.monotonic()) > 0 and not (
            given.examples and all(turns.values())
        ):
            name = min(names, key=lambda n: (bool(turns[n]), tallies[n].seconds))
            even = min(_ROUND_SECONDS, given.seconds / len(names))
            fuzz(
                TARGETS[name],
                workers[name],
                tallies[name],
                seed=given.seed + 1_000_003 * turns[name] + 1009 * names.index(name) + job,
                seconds=left if given.examples else min(left, even),
                max_examples=given.examples or _MOST_EXAMPLES,
                saved=given.saved,
            )
            turns[name] += 1
    finally:
        for worker in workers.values():
            worker.close()
    return list(tallies.values())


def _report(tallies: Sequence[Tally]) -> int:
    shown = [c for c in _COLUMNS if c not in FINDINGS or any(t.kinds[c] for t in tallies)]
    print(f"{'target':20}", *(f"{name:>9}" for name in (*shown, "findings", "slowest")))
    total = Tally("all")
    for tally in tallies:
        print(_row(tally, shown))
        total.kinds.update(tally.kinds)
        total.slowest = max(total.slowest, tally.slowest)
        total.found |= {f"{tally.name}: {mark}": place for mark, place in tally.found.items()}
    print(_row(total, shown))
    for mark, place in total.found.items():
        print(f"{place}: {mark}")
    return int(total.n_findings > 0)


def _row(tally: Tally, shown: Sequence[str]) -> str:
    numbers = [sum(tally.kinds.values()) if c == "inputs" else tally.kinds[c] for c in shown]
    cells = [*(f"{n:>9,}" for n in (*numbers, len(tally.found))), f"{tally.slowest:>8.1f}s"]
    return " ".join([f"{tally.name:20}", *cells])


def _replay(place: Path) -> int:
    told = json.loads((place / "finding.json").read_text())
    outcome: Outcome = replay(TARGETS[told["target"]], told["steps"])
    print(f"{told['target']}: {told['steps']}\n{outcome.kind} {outcome.text} {outcome.where}")
    return int(outcome.kind in FINDINGS)


if __name__ == "__main__":
    sys.exit(main())

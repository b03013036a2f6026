"""``python -m soak``: disturbed runs until the time is over; exit code 1 where something is wrong.

Each trial draws its verb, fault and moment from the seed and its own number, so that ``--seed S
--only N`` does one of them again.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from soak.run import drawn, trial
from soak.stage import stage
from soak.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterable


def main() -> int:
    """Soak; return the exit code."""
    given = _arguments()
    print(f"seed {given.seed}, {given.seconds:g} s", flush=True)
    tally, until = Tally(), time.monotonic() + given.seconds
    with (
        tempfile.TemporaryDirectory(prefix="soak-") as folder,
        stage(Path(folder), ray=given.ray) as place,
    ):
        for number in _numbers(given.only):
            if time.monotonic() > until and given.only is None:
                break
            draw = drawn(given.seed, number, ray=given.ray)
            tally.add(draw, trial(place, draw))
        print(tally.table(place), flush=True)
    return int(bool(tally.problems))


def _numbers(only: list[int] | None) -> Iterable[int]:
    return count() if only is None else only


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300, help="wall time [300]")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32, help="[of the clock]")
    parser.add_argument("--only", type=int, nargs="+", help="numbers of trials")
    parser.add_argument("--no-ray", dest="ray", action="store_false", help="without a cluster")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

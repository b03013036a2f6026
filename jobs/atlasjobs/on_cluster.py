"""What a submitted job runs: a look at the cluster, then the verb.

``python -m atlasjobs.on_cluster --wait SECONDS -- VERB ...``
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from atlasjobs.cli import app, main
from atlasjobs.failures import WRONG_INPUT, failure_of, tell_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlasjobs.verb_call import VerbCall

__all__ = ["run"]

_MOST_PLACES = 16
"""Of many inputs so many are looked at."""


def run(arguments: Sequence[str]) -> None:
    """Check the cluster, then become the verb.

    Parameters
    ----------
    arguments
        ``--wait SECONDS -- VERB ...``.
    """
    parser = argparse.ArgumentParser(prog="python -m atlasjobs.on_cluster")
    parser.add_argument("--wait", type=float, default=600.0, help="seconds for the workers to come")
    parser.add_argument("words", nargs="+", metavar="-- VERB ...")
    given = parser.parse_args(arguments)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if code := _look(given.words, given.wait):
        sys.exit(code)
    sys.argv = ["atlasbasset", *given.words]
    main()


def _look(words: Sequence[str], wait_s: float) -> int:
    """Return 0, or the exit code of a cluster that cannot do the work, which is told."""
    from atlasbasset.cluster.preflight import preflight
    from atlasjobs.output.console import Output
    from atlasstore.errors import AtlasError

    output = Output()
    try:
        with output.watching() as on_event:
            preflight(_needs(_call(words), wait_s), on_event)
    except AtlasError as error:
        failure = failure_of(error, verb="submit", params={})
        tell_error(failure.message)
        return failure.exit_code
    return 0


def _call(words: Sequence[str]) -> VerbCall:
    import typer.main

    from atlasjobs.verb_call import verb_call

    program: Any = typer.main.get_group(app)
    try:
        return verb_call(program.make_context("atlasbasset", [words[0]]), words)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        tell_error(error.format_message())
        sys.exit(WRONG_INPUT)


def _needs(call: VerbCall, wait_s: float) -> Any:
    from atlasbasset.cluster.preflight import Needs

    return Needs(
        reads=call.reads[:_MOST_PLACES],
        writes=call.writes[:_MOST_PLACES],
        workers=call.least_workers,
        cpus=call.cpus_per_worker,
        gpus=call.gpus_per_worker,
        wait_s=wait_s,
    )


if __name__ == "__main__":
    run(sys.argv[1:])

"""Saying that kernels are being compiled, which takes a machine's first run some seconds.

numba keeps what it has compiled beside the sources, or, where that is not writable, in the user's
cache; only what is not kept there is compiled, and heard of here.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from atlasstore.events import Notice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atlasstore.events import Subscriber

__all__ = ["COMPILING", "telling_compilation"]

COMPILING = (
    "Compiling kernels for this processor, which takes some 10 to 30 s; they are kept for later."
)


@contextmanager
def telling_compilation(on_event: Subscriber) -> Iterator[None]:
    """Say once, when the first kernel is compiled in the block, that it takes a while.

    Nothing is heard where numba is not imported yet: who runs no kernels does not load it for this.
    """
    if "numba" not in sys.modules:
        yield
        return
    from numba.core import event

    told = False

    class Hear(event.Listener):  # type: ignore[misc, unused-ignore] # numba has no types
        def on_start(self, event: Any) -> None:
            nonlocal told
            if not told:
                told = True
                on_event(Notice(COMPILING))

        def on_end(self, event: Any) -> None:
            """Hear nothing."""

    with event.install_listener("numba:compile", Hear()):
        yield

"""Fixtures shared by every test: where real data lies, seeded generators."""

from __future__ import annotations

import gc
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

# Tests are small and run side by side: threads inside them would only wait for one another. Set
# before torch and numba are imported; a worker process started by a test inherits it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

# A shell that starts tests in the background lets them ignore Ctrl-C, which some tests send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import hypothesis
import numpy as np
import pytest

from side_by_side import FilesTogether, longest_first

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xdist.remote import Producer

# how long an example takes says how busy the machine is
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")

ROOT = Path(__file__).resolve().parents[1]


def _real_data_folder() -> Path:
    named = os.environ.get("ATLASBASSET_TEST_DATA")
    return Path(named) if named else ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data, or a skip that says where it was looked for."""
    folder = _real_data_folder()
    if not folder.is_dir():
        pytest.skip(f"real data is absent: {folder} (set ATLASBASSET_TEST_DATA)")
    return folder


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> None:
    """Refuse bytes without an id: they may hold a time, and workers must collect the same tests."""
    if isinstance(val, (bytes, bytearray)):
        raise pytest.UsageError(f"give the bytes of {argname!r} an id (ids=...): got {val[:20]!r}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> FilesTogether:
    """Run a file's tests in one process, so that what they share is made once."""
    return FilesTogether(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest where tests run side by side."""
    if hasattr(config, "workerinput"):
        longest_first(items)


@pytest.fixture(autouse=True, scope="module")
def old_objects_stay() -> None:
    """Leave what earlier modules loaded out of garbage collections, which the tested code asks for.

    With all that a long run has imported, each of them takes a second.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _quick_walks() -> Iterator[None]:
    """Look through HDF5 files in forked processes; test_hdf5 does it as the package does."""
    from walker import forked_walks

    with forked_walks():
        yield


@pytest.fixture(autouse=True, scope="session")
def _one_compiler() -> None:
    """Compile loops in one process at a time."""
    import one_compiler  # noqa: F401 - it does so once imported


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded generator, fresh for each test."""
    return np.random.default_rng(20221108)

from __future__ import annotations

import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from atlasstore.errors import UserInputError
from atlasstore.events import Notice
from atlasstore.files import locks, urls
from atlasstore.files.locks import Times

HOLD = """
import sys, time
from atlasstore.files.locks import claimed
with claimed(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


claimed = partial(locks.claimed, times=Times(beat_s=0.05, stale_s=0.5, pause_s=0.02))


@pytest.fixture(params=["lock", "record", "no locks here"])
def url(request, tmp_path, monkeypatch):
    if request.param == "no locks here":
        monkeypatch.setattr(locks, "file_lock", lambda _place: None)
    where = f"memory://claims/{tmp_path.name}"
    yield where if request.param == "record" else str(tmp_path)
    urls.delete(where)


def test_one_at_a_time_and_again_afterwards(url):
    with claimed(url):
        time.sleep(0.1)  # renewed meanwhile
        with pytest.raises(UserInputError, match=f"process .* is working on {url};"), claimed(url):
            pytest.fail("the block must not run")
    for _ in range(2):
        with claimed(url):
            pass


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_gives_the_claim_back(url, error):
    with pytest.raises(error), claimed(url):
        raise error
    with claimed(url):
        pass


def test_a_killed_holder_leaves_no_lock(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserInputError, match=f"process {holder.pid} on "), claimed(tmp_path):
            pytest.fail("the block must not run")
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with claimed(tmp_path):
        pass


def test_a_record_that_nobody_renews_is_replaced(tmp_path):
    url = f"memory://claims/{tmp_path.name}"
    urls.write_bytes(f"{url}/.claim", b'{"id": "x", "process": "process 7 on there", "beats": 3}')
    events = []
    with claimed(url, on_event=events.append):
        assert b"there" not in urls.read_bytes(f"{url}/.claim")
    assert not urls.exists(f"{url}/.claim")
    (notice,) = events
    assert isinstance(notice, Notice)
    assert "process 7 on there" in notice.message


def test_a_torn_record_is_no_obstacle(tmp_path):
    url = f"memory://claims/{tmp_path.name}"
    urls.write_bytes(f"{url}/.claim", b"\xff not json")
    with claimed(url):
        pass


def test_who_lost_the_claim_says_so_and_leaves_the_new_one(tmp_path):
    url = f"memory://claims/{tmp_path.name}"
    events = []
    with claimed(url, on_event=events.append):
        urls.write_bytes(f"{url}/.claim", b'{"id": "y", "process": "process 8 on there"}')
        time.sleep(0.3)
    assert [event.message for event in events] == [
        f"process 8 on there has taken over {url}/.claim; stop this process."
    ]
    assert b'"y"' in urls.read_bytes(f"{url}/.claim")

"""A cloud's notice is read from the machine's metadata, here a stand-in on loopback."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from atlasbasset.cluster.preemption_notice import hold_pod, seconds_left, watch


class Metadata(BaseHTTPRequestHandler):
    """EC2's (IMDSv2) and Google's."""

    answers: dict[str, str] = {}  # noqa: RUF012 - shared on purpose: the test changes it

    def _serve(self) -> None:
        allowed = {
            "PUT": self.headers.get("X-aws-ec2-metadata-token-ttl-seconds") == "60",
            "GET": self.headers.get("X-aws-ec2-metadata-token") == "t0ken"
            or self.headers.get("Metadata-Flavor") == "Google",
        }[self.command]
        body = self.answers.get(self.path)
        self.send_response(403 if not allowed else 200 if body is not None else 404)
        self.end_headers()
        if allowed and body is not None:
            self.wfile.write(body.encode())

    do_GET = do_PUT = _serve

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def metadata(monkeypatch):
    answers = {"/latest/api/token": "t0ken"}
    monkeypatch.setattr(Metadata, "answers", answers)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", answers
    server.shutdown()
    thread.join()
    server.server_close()


def test_amazons_notice_says_when(metadata):
    url, answers = metadata
    assert seconds_left("aws", url) is None
    at = (datetime.now(UTC) + timedelta(seconds=100)).strftime("%Y-%m-%dT%H:%M:%SZ")
    notice = json.dumps({"action": "terminate", "time": at})
    answers["/latest/meta-data/spot/instance-action"] = notice
    assert 95 <= seconds_left("aws", url) <= 100


def test_googles_notice_is_half_a_minute(metadata):
    url, answers = metadata
    answers["/computeMetadata/v1/instance/preempted"] = "FALSE"
    assert seconds_left("gcp", url) is None
    answers["/computeMetadata/v1/instance/preempted"] = "TRUE"
    assert seconds_left("gcp", url) == 30


def test_the_node_is_drained_once_when_the_notice_comes(metadata):
    url, answers = metadata
    drained = []
    watching = threading.Thread(
        target=watch, args=("gcp", drained.append, url), kwargs={"every_s": 0.05}
    )
    watching.start()
    time.sleep(0.3)
    assert drained == []
    answers["/computeMetadata/v1/instance/preempted"] = "TRUE"
    watching.join(timeout=10)
    assert drained == [30]


def test_no_metadata_is_no_notice():
    assert seconds_left("aws", "http://127.0.0.1:9") is None


def test_a_pod_is_held_until_its_time_is_over():
    drained, began = [], time.monotonic()
    hold_pod(drained.append, hold_s=0.4)
    assert drained == [5]
    assert 0.4 <= time.monotonic() - began < 5

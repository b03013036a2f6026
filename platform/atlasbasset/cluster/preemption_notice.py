"""Passes a cloud's notice that this spot node will be taken away on to Ray.

``python -m atlasbasset.cluster.preemption_notice aws|gcp`` runs beside ``ray start`` on a worker
node and asks the machine's metadata every few seconds. At the notice Ray gives the node no more
work, and training writes a checkpoint. With ``pod`` it is the preStop hook of a Kubernetes pod,
which is being taken away already: it tells Ray and holds the pod for as long as it may. Only the
standard library and Ray are used.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["hold_pod", "seconds_left", "watch"]

_METADATA = "http://169.254.169.254"
_GCP_NOTICE_S = 30
_POD_S = 40
"""That the hook holds a pod: less than the manifests' terminationGracePeriodSeconds, 60."""
_LEAST_S = 5


def seconds_left(cloud: str, metadata: str = _METADATA) -> int | None:
    """Return the seconds until this machine is taken away; None while there is no notice.

    Parameters
    ----------
    cloud
        ``aws`` (two minutes' notice) or ``gcp`` (half a minute's).
    metadata
        Where the machine's metadata is served.
    """
    found = _aws(metadata) if cloud == "aws" else _gcp(metadata)
    return None if found is None else max(_LEAST_S, found)


def watch(
    cloud: str, drain: Callable[[int], None], metadata: str = _METADATA, *, every_s: float = 5.0
) -> None:
    """Wait for the notice, then call `drain` with the seconds left; return when that is done."""
    while (left := seconds_left(cloud, metadata)) is None:
        time.sleep(every_s)
    drain(left)


def hold_pod(drain: Callable[[int], None], hold_s: float = _POD_S) -> None:
    """Call `drain` with the seconds that are left, and return when they are over."""
    until = time.monotonic() + hold_s
    drain(max(_LEAST_S, int(hold_s)))
    time.sleep(max(0.0, until - time.monotonic()))


def _aws(metadata: str) -> int | None:
    token = _asked(
        f"{metadata}/latest/api/token",
        {"X-aws-ec2-metadata-token-ttl-seconds": "60"},
        method="PUT",
    )
    if token is None:
        return None
    notice = _asked(
        f"{metadata}/latest/meta-data/spot/instance-action", {"X-aws-ec2-metadata-token": token}
    )
    if notice is None:
        return None
    at = datetime.fromisoformat(json.loads(notice)["time"])
    return int(at.timestamp() - time.time())


def _gcp(metadata: str) -> int | None:
    url = f"{metadata}/computeMetadata/v1/instance/preempted"
    found = _asked(url, {"Metadata-Flavor": "Google"})
    return _GCP_NOTICE_S if found == "TRUE" else None


def _asked(url: str, headers: dict[str, str], method: str = "GET") -> str | None:
    """Return what is at a URL of the metadata; None where there is nothing, or no answer."""
    request = urllib.request.Request(url, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=2) as answer:
            return str(answer.read().decode()).strip()
    except (urllib.error.URLError, OSError):
        return None


def _drain(seconds: int) -> None:
    reason = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot"]
    deadline = ["--deadline-remaining-seconds", str(seconds)]
    ray = [sys.executable, "-m", "ray.scripts.scripts", "drain-node"]
    subprocess.run([*ray, *reason, *deadline], check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m atlasbasset.cluster.preemption_notice")
    parser.add_argument("cloud", choices=["aws", "gcp", "pod"])
    if (cloud := parser.parse_args().cloud) == "pod":
        hold_pod(_drain)
    else:
        watch(cloud, _drain)

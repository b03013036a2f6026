"""Fixtures for the cluster files: the folder, the two files parsed, a machine without network."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster_files import documents

RAYJOBS = ("preprocess", "train", "denoise", "motifs", "ism")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def configs(root: Path) -> Path:
    """The folder of cluster files."""
    return root / "cluster-configs"


@pytest.fixture
def aws_file(configs: Path) -> dict[str, Any]:
    """The `ray up` file as it stands on disk, parsed afresh for each test."""
    config: dict[str, Any] = yaml.safe_load((configs / "aws" / "cluster.yaml").read_text())
    return config


@pytest.fixture(params=["aws", "gcp"])
def ray_up_file(configs: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
    """Each of the `ray up` files, parsed afresh for each test."""
    config: dict[str, Any] = yaml.safe_load((configs / request.param / "cluster.yaml").read_text())
    return config


@pytest.fixture(params=RAYJOBS)
def manifests(configs: Path, request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    """The documents of a RayJob's file by kind, parsed afresh for each test."""
    return documents(configs / "kuberay" / f"rayjob-{request.param}.yaml")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make any connection or name look-up an error, so that a test cannot reach a cloud."""

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("this test must not touch the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)

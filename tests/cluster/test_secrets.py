"""No credential stands in a file that people copy from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

LOOKS_SECRET = re.compile(
    r"(?:AKIA|ASIA)[0-9A-Z]{16}"  # AWS access key ids
    r"|-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|\bgh[pousr]_[0-9A-Za-z]{20,}"
    r"|(?i:secret|password|passwd|access_key|auth_token|api_key)[\"']?\s*[:=]\s*[\"']?[0-9A-Za-z/+_-]{16,}"
    r"|\b[0-9a-f]{32,}\b"  # a token as Ray writes it, and other hexadecimal keys
    r"|arn:aws:iam::[0-9]{12}:"  # somebody's account
)


@pytest.mark.parametrize(
    "text",
    [
        "AKIA" + "Q" * 16,
        "-----BEGIN RSA " + "PRIVATE KEY-----",
        "RAY_AUTH_TOKEN=" + "0af3" * 8,
        "password: " + "correcthorsebattery",
        "arn:aws:iam::" + "1" * 12 + ":role/x",
    ],
)
def test_the_pattern_finds_what_it_looks_for(text: str) -> None:
    assert LOOKS_SECRET.search(text)


def test_no_file_holds_a_secret(configs: Path, root: Path) -> None:
    files = [path for path in configs.rglob("*") if path.is_file()] + [root / "docs/clusters.md"]
    assert len(files) >= 8
    for path in files:
        assert not LOOKS_SECRET.search(path.read_text()), path

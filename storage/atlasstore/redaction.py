"""Text as it may be shown and stored: without secrets in URLs, and without control characters.

What is stored or printed outlives a run and is passed on; credentials in a URL must not be. An
input is compared with an earlier run's by what is left, so a newly signed URL of the same file is
the same input.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["legible", "shown", "shown_values"]

_URL = re.compile(
    r"(?<![A-Za-z0-9+.-])(?P<scheme>[A-Za-z0-9+.-]+)://(?P<rest>[^\s\"<>]+)"  # in linear time
)
_LONG_WORD = re.compile(r"\S{401,}")
_MOST_LETTERS = 1600
_SECRET = re.compile(
    r"x-(?:amz|goog|ms|oss)-.*"
    r"|.*(?:token|secret|password|passwd|signature|credential|api-?key|access-?key|auth).*"
    r"|sig|key|pwd|pass|sas|jwt|code"
)
"""Names of parameters, in lower case with ``_`` as ``-``, whose values nobody else may see."""
_SIGNING = frozenset(
    (
        *("se", "sp", "sv", "sr", "st", "ss", "srt", "spr", "sip"),
        *("skoid", "sktid", "skt", "ske", "sks", "skv"),
        *("expires", "policy", "key-pair-id"),
    )
)
"""Names of parameters that belong to a signature, and change with it."""
_BARE = re.compile(
    r"(?i)([?&](?:x-(?:amz|goog)-[a-z-]+|sig|signature|[a-z_-]*(?:token|secret|password|api_?key)"
    r"|awsaccesskeyid|key)=)[^\s&\"'<>)]+"
)
"""The same in text that holds a query without its URL."""
_SENTENCE_END = ")].,;:'}"
"""What may stand between a URL and the rest of a sentence."""
_NAMES_ITS_USER = ("http", "https", "ftp", "ftps")
"""Schemes whose user is the person; of others it may be a container (``abfs://data@account``)."""


def shown(text: object) -> str:
    """Return a URL, or any text with URLs in it, without credentials.

    Taken out are ``user:password@``, and of a query the parameters that are secret or part of a
    signature; the rest stays as it is.
    """
    url_by_url = _URL.sub(lambda found: f"{found['scheme']}://{_rest(*found.groups())}", str(text))
    return _BARE.sub(r"\1***", url_by_url)


def legible(text: str) -> str:
    """Return text as one line that a terminal shows as it is, long words and long text cut.

    What a message quotes of a file may hold anything: escape sequences, or a field of megabytes.
    """
    if not text.isprintable():
        text = "".join(map(_printable, text))
    text = _LONG_WORD.sub(lambda word: f"{word[0][:200]}...{word[0][-50:]}", text)
    return text if len(text) <= _MOST_LETTERS else f"{text[:1200]} ... {text[-350:]}"


def _printable(letter: str) -> str:
    if letter.isprintable():
        return letter
    return " " if letter.isspace() else letter.encode("unicode_escape").decode()


def shown_values(values: Any) -> Any:
    """Return JSON-like values (mappings, lists, tuples) with all text in them `shown`."""
    if isinstance(values, str):
        return shown(values)
    if isinstance(values, Mapping):
        return {key: shown_values(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [shown_values(value) for value in values]
    return values


def _rest(scheme: str, rest: str) -> str:
    """Return what follows ``scheme://``, without credentials."""
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    user, at, host = authority.rpartition("@")
    if at and (":" in user or scheme.lower().split("+")[-1] in _NAMES_ITS_USER):
        rest = host + rest[len(authority) :]
    before, mark, query = rest.partition("?")
    if not mark:
        return rest
    query, fragment, after = query.partition("#")
    tail = "" if fragment else query[len(query.rstrip(_SENTENCE_END)) :]
    kept = _kept(query.removesuffix(tail) if tail else query)
    return before + (mark + kept if kept else "") + tail + fragment + after


def _kept(query: str) -> str:
    pairs = query.split("&")
    names = [pair.partition("=")[0].lower().replace("_", "-") for pair in pairs]
    secret = [bool(_SECRET.fullmatch(name)) for name in names]
    is_signed = any(secret)
    marked = zip(pairs, names, secret, strict=True)
    return "&".join(p for p, n, bad in marked if not (bad or (is_signed and n in _SIGNING)))

from __future__ import annotations

import pickle  # noqa: TID251 - errors cross processes this way
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlasstore.errors import AtlasError, NotAStoreError
from atlasstore.events import Notice
from atlasstore.redaction import legible, shown, shown_values

S3 = "https://b.s3.amazonaws.com/a.h5ad"
SHOWN = {
    "http://user:password@host/x.h5": "http://host/x.h5",
    "http://user:pa@ss:w@host:80/x@y": "http://host:80/x@y",
    "https://ghp_token@host/x": "https://host/x",
    "s3://key:secret@bucket/x": "s3://bucket/x",
    "ftp://user@host/x": "ftp://host/x",
    "simplecache::http://user:pw@host/x": "simplecache::http://host/x",
    f"{S3}?X-Amz-Signature=abc&X-Amz-Credential=k%2F1&X-Amz-Date=1": S3,
    f"{S3}?AWSAccessKeyId=k&Expires=1&Signature=abc%3D": S3,
    "https://a.blob.core.windows.net/c/x?sv=1&se=2&sr=b&sp=r&sig=ab%3D": (
        "https://a.blob.core.windows.net/c/x"
    ),
    "https://h/x?file=a&token=abc#top": "https://h/x?file=a#top",
    "https://h/x?access_token=abc": "https://h/x",
    "https://h/x?api_key=abc&key=d&format=gz": "https://h/x?format=gz",
    "see 'http://u:p@h/x?sig=s', or (https://h/y?token=t).": "see 'http://h/x', or (https://h/y).",
    '{"url":"http://u:p@h/x","n":1}': '{"url":"http://h/x","n":1}',
    "9https://u:p@h/x": "9https://h/x",
    "with url: /x?X-Amz-Signature=abc&list-type=2": "with url: /x?X-Amz-Signature=***&list-type=2",
}
KEPT = [
    "/data/a@b:c/x?token=",
    "s3://bucket/x@y",
    "abfs://container@account.dfs.core.windows.net/x",
    "https://h/x?se=1&expires=2",
    "https://h/download?id=3&format=gz",
    "memory://a/b",
    "chr1:200-300",
    "key=value; a sentence, with user:name@home in it.",
]


@pytest.mark.parametrize("text", SHOWN)
def test_credentials_are_taken_out(text):
    assert shown(text) == SHOWN[text]
    assert shown(SHOWN[text]) == SHOWN[text]


@pytest.mark.parametrize("text", KEPT)
def test_everything_else_stays(text):
    assert shown(text) == text


word = st.text("abcXYZ019_-.~%!$*+", min_size=1, max_size=12)


@given(word, word, st.sampled_from(["http", "https", "s3", "ftp", "hdfs"]), word)
def test_no_password_is_left(user, password, scheme, before):
    secret = f"{password}SECRET"
    assert "SECRET" not in shown(f"{before} {scheme}://{user}:{secret}@host/path, {before}")


@given(
    st.sampled_from(["token", "sig", "X-Amz-Signature", "Signature", "key", "password"]), word, word
)
def test_no_signature_is_left(name, value, other):
    assert "SECRET" not in shown(f"cannot read https://h/x?a={other}&{name}={value}SECRET&b=1: no")


def test_values_within_values():
    found = shown_values(
        {"a": ["http://u:p@h/x", 1, None], "b": ({"c": "http://u:p@h"},), "d": 2.5}
    )
    assert found == {"a": ["http://h/x", 1, None], "b": [{"c": "http://h"}], "d": 2.5}


def test_errors_and_notices_tell_no_credentials():
    for error in (AtlasError("http://u:p@h/x"), NotAStoreError("http://u:p@h/x is absent")):
        assert "u:p" not in f"{error} {error!r}"
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (type(error), str(error))
    assert Notice("http://u:p@h/x").message == "http://h/x"


@given(st.text(st.characters(), max_size=3000) | st.text("ab", min_size=390, max_size=420))
def test_what_a_message_quotes_is_one_short_printable_line(text):
    line = legible(text)
    assert line.isprintable()
    assert len(line) <= 1600
    if text.isprintable() and len(text) <= 400:
        assert line == text


def test_control_characters_are_written_out_and_long_fields_cut():
    assert legible("x\x1b[31mred\ty\n\ufeffz") == "x\\x1b[31mred y \\ufeffz"
    assert str(AtlasError("a " + "9" * 5000 + " b")) == f"a {'9' * 200}...{'9' * 50} b"
    assert Notice("column \x00").message == "column \\x00"


@pytest.mark.parametrize(
    "text", ["a" * 100_000, "https://h/x?" + "." * 100_000 + "a", "&" * 100_000]
)
def test_long_text_takes_no_longer_than_it_is(text):
    started = time.process_time()
    shown(text)
    assert time.process_time() - started < 1

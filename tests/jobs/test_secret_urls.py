"""A run on URLs with credentials: nothing that it writes or prints holds them."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import anndata
import pytest

from atlasstore.files import urls
from atlasstore.results.writer import write_anndata
from atlasstore.simulation import simulate

if TYPE_CHECKING:
    from pathlib import Path

SECRETS = ("pass-w0rd", "s1gned")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("served")
    simulate(made / "sim", n_cells=60, n_peaks=120, n_cell_types=2, n_motifs=4, density=0.2)
    return made / "sim"


@pytest.fixture(scope="module")
def server(folder: Path):
    """Serve a folder to whoever knows the password, by ranges, as object stores do."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def _answer(self, *, with_body: bool) -> None:
            allowed = base64.b64encode(b"user:pass-w0rd").decode()
            path, _, query = self.path.partition("?")
            file = folder / path.lstrip("/")
            if self.headers.get("Authorization") != f"Basic {allowed}" and "s1gned" not in query:
                self.send_error(403)
            elif not file.is_file():
                self.send_error(404)
            else:
                self._send(file.read_bytes(), with_body=with_body)

        def _send(self, content: bytes, *, with_body: bool) -> None:
            asked = self.headers.get("Range")
            first, last = 0, len(content) - 1
            if asked:
                start, _, stop = asked.removeprefix("bytes=").partition("-")
                first, last = int(start), min(int(stop or last), last)
            self.send_response(206 if asked else 200)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(last - first + 1))
            if asked:
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
            self.end_headers()
            if with_body:
                self.wfile.write(content[first : last + 1])

        def log_message(self, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{serving.server_port}"
        serving.shutdown()


def told(path: Path, *texts: str) -> str:
    """All that was written below a folder, and printed."""
    files = (p.read_bytes().decode("latin-1") for p in path.rglob("*") if p.is_file())
    return "\n".join((*texts, *files))


FEW_BLOCKS = ("--min-blocks", "4")
FORMS = [
    "http://user:pass-w0rd@{}/{}",
    "http://{}/{}?X-Amz-Signature=s1gned&part=[a/b]*.csv",  # what it is, its path's end tells
]


@pytest.mark.parametrize("form", FORMS)
def test_preprocess(atlasbasset, server, folder, tmp_path, form):
    counts = form.format(server, "counts.h5ad")
    options = ("--genome", folder / "genome.fa", "--out", tmp_path / "a.zarr", *FEW_BLOCKS)
    done = atlasbasset("preprocess", counts, *options, "--json", tmp_path / "report.json")
    assert done.code == 0, done.err
    shown = atlasbasset("inspect", tmp_path / "a.zarr", "--json", "-")
    everything = told(tmp_path, done.out, done.err, shown.out, shown.err)
    assert not any(secret in everything for secret in SECRETS)
    inputs = json.loads(shown.out)["provenance"]["inputs"]
    kept = inputs[0]["url"].removesuffix("?part=[a/b]*.csv")
    assert kept == f"http://{server}/counts.h5ad"


@pytest.fixture(scope="module")
def other_forms(folder):
    """The counts as a zarr store and as fragments, with their peaks."""
    counts = anndata.read_h5ad(folder / "counts.h5ad")
    write_anndata(counts, folder / "counts.zarr")
    peaks = counts.var[["chrom", "start", "end"]]
    peaks.to_csv(folder / "peaks.bed", sep="\t", header=False, index=False)
    cells, found = counts.X.nonzero()
    lines = peaks.iloc[found].assign(barcode=counts.obs_names[cells], reads=1)
    lines = lines.sort_values(["chrom", "start"])
    lines.to_csv(folder / "fragments.tsv.gz", sep="\t", header=False, index=False)


def with_query(server, name):
    return f"http://{server}/{name}?X-Amz-Signature=s1gned%2Bx"


def test_a_folder_behind_a_signature(atlasbasset, server, folder, tmp_path, other_forms):
    counts = with_query(server, "counts.zarr")
    options = ("--genome", folder / "genome.fa", "--out", tmp_path / "a.zarr", *FEW_BLOCKS)
    done = atlasbasset("preprocess", counts, *options)
    assert done.code == 0, done.err
    everything = told(tmp_path, done.out, done.err)
    assert not any(secret in everything for secret in SECRETS)


def test_fragments_and_peaks_behind_a_signature(atlasbasset, server, folder, tmp_path, other_forms):
    fragments, peaks = (with_query(server, name) for name in ("fragments.tsv.gz", "peaks.bed"))
    options = ("--genome", folder / "genome.fa", "--out", tmp_path / "a.zarr", *FEW_BLOCKS)
    done = atlasbasset("preprocess", fragments, "--peaks", peaks, *options)
    assert done.code == 0, done.err
    everything = told(tmp_path, done.out, done.err)
    assert not any(secret in everything for secret in SECRETS)


def test_a_genome_behind_a_signature(atlasbasset, server, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    options = (
        "--genome",
        with_query(server, "genome.fa"),
        "--out",
        tmp_path / "a.zarr",
        *FEW_BLOCKS,
    )
    done = atlasbasset("preprocess", with_query(server, "counts.h5ad"), *options)
    assert done.code == 0, done.err
    everything = told(tmp_path, done.out, done.err)
    assert not any(secret in everything for secret in SECRETS)


@pytest.mark.parametrize(
    ("url", "end", "below"),
    [
        ("https://h/A.h5ad?sig=a/b.csv", "https://h/a.h5ad", "https://h/A.h5ad/x?sig=a/b.csv"),
        ("https://h/a.zarr/#top", "https://h/a.zarr", "https://h/a.zarr/x#top"),
        ("s3://b/a.zarr?versionId=1", "s3://b/a.zarr", "s3://b/a.zarr/x?versionId=1"),
        ("s3://b/what?.zarr", "s3://b/what?.zarr", "s3://b/what?.zarr/x"),
        ("what?a=.zarr", "what?a=.zarr", "what?a=.zarr/x"),
    ],
)
def test_the_end_of_a_path(url, end, below):
    assert urls.path_end(url) == end
    assert urls.join(url, "x") == below


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["absent.h5ad", "truth.json"])
def test_what_fails(atlasbasset, server, folder, tmp_path, form, name):
    given = form.format(server, name)
    options = (
        "--genome",
        folder / "genome.fa",
        "--out",
        tmp_path / "a.zarr",
        *FEW_BLOCKS,
        "--debug",
    )
    done = atlasbasset("preprocess", given, *options)
    assert done.code != 0
    assert name in done.err
    everything = told(tmp_path, done.out, done.err)
    assert not any(secret in everything for secret in SECRETS)


def test_another_signature_is_the_same_job(server, folder, tmp_path):
    from atlasstore.resume.ledger import job_identity

    first, second = (f"http://{server}/counts.h5ad?sig=s1gned{n}" for n in (1, 2))
    one, two = (job_identity({"input": url}, [url]) for url in (first, second))
    assert one == two
    assert "s1gned" not in json.dumps(one)

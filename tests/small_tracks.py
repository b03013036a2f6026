"""A small folder of tracks, and a web server for it that takes range requests."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from atlasbasset.verbs.tracks.tracks import tracks
from atlasstore.events import ignore
from small_atlas import make_atlas, make_peaks, random_chromosomes, write_fasta
from small_model import TINY, random_weights, write_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from aiohttp import web

N_CELLS, N_PEAKS = 60, 120
HOSTILE = "<b>T & B</b> cells"
GROUPS = (HOSTILE, "a/b", "a:b", "t10")
"""Two of the names become one in letters of file names."""
GENES = """chrI\t.\tgene\t1001\t3000\t.\t+\t.\tgene_id "g1"; gene_name "ALPHA";
chrI\t.\tgene\t9001\t9500\t.\t-\t.\tgene_id "g2"; gene_name "BETA";
chrX\t.\tgene\t1\t500\t.\t-\t.\tgene_id "g3"; gene_name "ELSEWHERE";
"""


class Made(NamedTuple):
    """What tracks are made of, and the folder."""

    model: str
    atlas: str
    genome: Path
    genes: Path
    labels: np.ndarray
    group: np.ndarray
    out: Path


def make_tracks(folder: Path) -> Made:
    rng = np.random.default_rng(4)
    labels = rng.random((N_CELLS, N_PEAKS)) < 0.4
    group = np.arange(N_CELLS) % len(GROUPS)
    obs = pd.DataFrame(
        {"n_peaks": labels.sum(1), "cell_type": pd.Categorical(np.array(GROUPS)[group])},
        index=[f"cell{i}" for i in range(N_CELLS)],
    )
    genome = write_fasta(
        folder / "genome.fa", random_chromosomes(rng, {"chrI": 40_000, "chrII": 35_000})
    )
    genes = folder / "genes.gtf"
    genes.write_text(GENES)
    codes = rng.integers(0, 4, (N_PEAKS, TINY.window_bp + 6), dtype=np.uint8)
    made = Made(
        model=write_model(folder / "model.zarr", random_weights(rng, N_CELLS), obs=obs),
        atlas=make_atlas(folder / "atlas.zarr", labels, codes, peaks=make_peaks(N_PEAKS)),
        genome=genome,
        genes=genes,
        labels=labels,
        group=group,
        out=folder / "tracks",
    )
    tracks(
        made.model, made.atlas, group_by="cell_type", out=made.out, genome=genome, genes=genes,
        genome_wide=["chrI:1,000-6,000", "chrII:0-2050"], step_bp=100, with_sequence=True,
        convolution="direct", on_event=ignore,
    )  # fmt: skip
    return made


class Served(NamedTuple):
    """A server on loopback."""

    url: str
    answers: list[tuple[str, str | None, int]]
    """Path, Range header and status of every answer."""


@contextmanager
def served(
    folder: Path,
    *,
    prefix: str = "",
    allowed: Callable[[web.Request], bool] | None = None,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Served]:
    """Serve a folder with aiohttp, whose static files answer range requests.

    Parameters
    ----------
    folder
        What is served.
    prefix
        Of every path.
    allowed
        Whether a request is answered; the others get 403.
    headers
        Of every answer.
    """
    from aiohttp import web

    @web.middleware
    async def guard(request: web.Request, handler: Any) -> web.StreamResponse:
        refused = allowed is not None and not allowed(request)
        answer = web.Response(status=403, text="refused") if refused else await handler(request)
        answer.headers.update(headers)
        return answer

    answers: list[tuple[str, str | None, int]] = []

    async def note(request: web.Request, response: web.StreamResponse) -> None:
        answers.append((request.path, request.headers.get("Range"), response.status))

    async def begin() -> tuple[web.AppRunner, int]:
        app = web.Application(middlewares=[guard])
        app.on_response_prepare.append(note)
        app.router.add_static(f"{prefix}/", folder)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return runner, runner.addresses[0][1]

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner, port = asyncio.run_coroutine_threadsafe(begin(), loop).result(30)
    try:
        yield Served(f"http://127.0.0.1:{port}{prefix}", answers)
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()

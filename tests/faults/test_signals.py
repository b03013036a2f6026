"""Ctrl-C and SIGTERM at chosen moments of every verb: it ends in order, and can go on."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import time
from signal import SIGINT, SIGTERM
from typing import TYPE_CHECKING

import anndata
import numpy as np
import pandas as pd
import psutil
import pytest
from scipy import sparse

import atlasbasset
from atlasbasset.core.config import TrunkConfig
from atlasbasset.weights import write_keras
from atlasstore.genome.motifs import Motif, write_meme
from atlasstore.models.model_store import ModelStore
from denoise_process import make_stores
from signalled import Moment, command, finished, start
from small_atlas import FEW_BLOCKS, make_peaks, random_chromosomes, write_fasta
from small_ism import make_ism, normalised, planted
from small_model import random_weights, write_model
from store_bits import learned, mapped, stored

if TYPE_CHECKING:
    from pathlib import Path

N_PEAKS = 40
CODES = {SIGINT: 130, SIGTERM: 143}
RECEIPTS = "atlasstore.resume.units:write_receipts"
WEIGHTS = "atlasbasset.verbs.weights"
WRITTEN = "atlasstore.files.table_file"
TRACKS = "atlasbasset.verbs.tracks.folder"
RECORD = "atlasstore.resume.ledger:Ledger.record"
KEPT = "the same command resumes it"
NOTHING = "run the same command again"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Everything that a verb reads."""
    made, rng = tmp_path_factory.mktemp("given"), np.random.default_rng(0)
    make_stores(made)
    write_model(made / "own", random_weights(rng, 9))  # of the atlas's cells
    kinds = pd.DataFrame({"kind": list("ababababa")}, ModelStore.open(made / "own").obs.index)
    kinds.to_csv(made / "kinds.csv")
    chromosomes = random_chromosomes(rng, {"chrI": 10_500, "chrII": 10_500}, letters=b"ACGT")
    write_fasta(made / "genome.fa", chromosomes)
    (made / "regions.bed").write_text("".join(f"chrI\t{s}\t{s + 50}\n" for s in (900, 1500, 2100)))
    (made / "snps.vcf").write_text(
        "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
        + "".join(
            f"chrI\t{at + 1}\tv{at}\t{chromosomes['chrI'][at]}\t"
            f"{'A' if chromosomes['chrI'][at] != 'A' else 'C'}\t.\t.\t.\n"
            for at in (950, 1550, 2150)
        )
    )
    write_meme(made / "m.meme", [Motif("M1", "GATA1", np.eye(4)[[2, 0, 3, 0]] * 0.9 + 0.025)])
    scores = normalised(rng.normal(size=(3, 60, 4, 2)))
    make_ism(made / "ism", rng.integers(0, 4, (3, 60), dtype=np.uint8), scores, ["B", "T"])
    published = random_weights(rng, 3, config=TrunkConfig())
    write_keras(made / "published.h5", published)
    write_model(made / "published", published, config=TrunkConfig())
    for name in ("one", "two"):
        counts = rng.poisson(0.3, (60, N_PEAKS)).astype(np.float32)
        cells = pd.DataFrame(index=[f"{name}{i}" for i in range(60)])
        table = anndata.AnnData(sparse.csr_matrix(counts), obs=cells, var=make_peaks(N_PEAKS))
        table.write_h5ad(made / f"{name}.h5ad")
    return made


def preprocessing(folder, out):
    sizes = ("--window-bp", 192, "--min-blocks", FEW_BLOCKS)
    options = ("--genome", folder / "genome.fa", "--min-cell-fraction", 0, *sizes)
    return ("preprocess", folder / "one.h5ad", *options, "--out", out)


def training(folder, out, *, epochs=3, options=()):
    recipe = ("--epochs", epochs, "--batch-size", 16, "--n-auroc-peaks", 20, "--compute", "fp32")
    of = ("--init-from", folder / "model")
    return ("train", folder / "atlas", "--out", out, *recipe, *of, *options)


def arguments(verb, folder, out):
    """The command line of a verb on small input."""
    where = ("--genome", folder / "genome.fa")
    model, atlas = folder / "model", folder / "atlas"
    return {
        "preprocess": preprocessing(folder, out),
        "denoise": ("denoise", model, atlas, "--dtype", "uint8", "--out", out),
        "map": ("map", model, atlas, "--out", out),
        "motifs": (
            *("motifs", model, atlas, "--motifs", folder / "m.meme", "--n-backgrounds", 8),
            *("--out", out),
        ),
        "ism": ("ism", model, *where, "--regions", folder / "regions.bed", "--out", out),
        "variants": ("variants", model, *where, "--vcf", folder / "snps.vcf", "--out", out),
        "simulate": ("simulate", out, "--cells", 30, "--peaks", 40, "--cell-types", 2),
        "embed": ("embed", model, "--out", out),
        "evaluate": ("evaluate", folder / "own", atlas, "--split", "all"),
        "report": ("report", folder / "own", atlas, "--out", out),
        "differential": (
            *("differential", folder / "own", atlas, "--obs", folder / "kinds.csv"),
            *("--group-by", "kind", "--min-cells", 1, "--out", out),
        ),
        "tracks": (
            *("tracks", folder / "own", atlas, "--obs", folder / "kinds.csv"),
            *("--group-by", "kind", "--out", out),
        ),
        "match": ("match", folder / "ism", "--motifs", folder / "m.meme", "--out", out),
        "copy": ("copy", folder / "ism", "--out", out),
        "export": ("export", folder / "ism", "--out", out),
        "import-weights": ("import-weights", folder / "published.h5", "--out", out),
        "export-weights": ("export-weights", folder / "published", out),
    }[verb]


@pytest.fixture(scope="module")
def undisturbed(folder, tmp_path_factory):
    """A function that returns what a verb writes when nobody disturbs it; done once for each."""
    made: dict[tuple[str, str], object] = {}

    def of(verb, suffix):
        if (verb, suffix) not in made:
            place = tmp_path_factory.mktemp("whole")
            done = command(arguments(verb, folder, place / f"r{suffix}"), folder=place / "said")
            assert done.code == 0, done.err
            made[verb, suffix] = written(place / f"r{suffix}")
        return made[verb, suffix]

    return of


def written(out: Path):
    """What is in an output, but for the time of making it."""
    if not out.exists():
        return None
    if out.suffix == ".h5ad":
        return anndata.read_h5ad(out).obsm["X_scbasset"].tobytes()
    if out.suffix == ".html":  # says when it was made
        return out.read_text().count("<figure")
    if (out / "index.html").exists():
        return {f.relative_to(out): f.read_bytes() for f in out.rglob("*.[bt][we]*")}
    if out.is_dir():
        return mapped(str(out))
    return hashlib.sha256(out.read_bytes()).hexdigest()


CASES = [
    ("preprocess", "", SIGINT, Moment(RECORD, 1, after=True), KEPT),
    # the thread that writes the first receipt may end before it is asked to stop, or after
    ("preprocess", "", SIGTERM, Moment(RECEIPTS), f"{NOTHING}|{KEPT}"),
    ("preprocess", "", SIGTERM, Moment(RECEIPTS, 2, after=True), KEPT),
    ("denoise", "", SIGINT, Moment(RECEIPTS, 1, after=True), KEPT),
    ("denoise", "", SIGTERM, Moment(RECEIPTS, 4), KEPT),
    ("map", "", SIGTERM, Moment(RECEIPTS, 2, after=True), KEPT),
    ("motifs", "", SIGINT, Moment(RECEIPTS, 1, after=True), KEPT),
    ("ism", "", SIGTERM, Moment(RECORD, 1, after=True), KEPT),
    ("variants", "", SIGINT, Moment(RECORD, 1, after=True), KEPT),
    (
        *("simulate", "", SIGTERM),
        *(Moment("atlasstore.simulation.simulate:write_simulation", after=True), NOTHING),
    ),
    ("embed", ".h5ad", SIGINT, Moment("anndata:AnnData.write_h5ad", after=True), NOTHING),
    ("embed", ".zarr", SIGTERM, Moment("zarr:consolidate_metadata"), NOTHING),
    (
        *("evaluate", "", SIGTERM),
        *(Moment("atlasbasset.verbs.evaluate.plan:measure_predictions"), "Nothing was changed"),
    ),
    ("report", ".html", SIGINT, Moment("atlasbasset.verbs.report.page.page:_plotly"), NOTHING),
    ("match", ".tsv", SIGINT, Moment(f"{WRITTEN}:TableFile.flush", after=True), NOTHING),
    ("match", ".parquet", SIGTERM, Moment(f"{WRITTEN}:TableFile.flush", after=True), NOTHING),
    ("differential", ".tsv", SIGTERM, Moment(RECEIPTS, 2, after=True), KEPT),
    ("differential", ".tsv", SIGINT, Moment(f"{WRITTEN}:TableFile.flush", after=True), KEPT),
    ("tracks", "", SIGINT, Moment(RECEIPTS, 2), KEPT),
    ("tracks", "", SIGTERM, Moment(f"{TRACKS}:write_page", after=True), KEPT),
    ("copy", "", SIGTERM, Moment(RECEIPTS, 1, after=True), KEPT),
    ("export", ".tsv", SIGINT, Moment(f"{WRITTEN}:TableFile.flush", after=True), NOTHING),
    ("import-weights", "", SIGTERM, Moment(f"{WEIGHTS}:_write_checkpoint"), NOTHING),
    ("import-weights", "", SIGINT, Moment(f"{WEIGHTS}:_write_checkpoint", after=True), NOTHING),
    ("export-weights", ".h5", SIGINT, Moment(f"{WEIGHTS}:write_keras", after=True), NOTHING),
]


def cases():
    """The first of each verb but the slowest in the fast suite, the others in the slow one."""
    seen = {"report", "export"}
    for verb, suffix, number, moment, said in CASES:
        name = f"{verb}{suffix}-{number.name}-{moment.count}{moment.after:d}"
        marks = [pytest.mark.slow] if verb in seen else []
        seen.add(verb)
        yield pytest.param(verb, suffix, number, moment, said, id=name, marks=marks)


@pytest.mark.parametrize(("verb", "suffix", "number", "moment", "said"), list(cases()))
def test_every_verb(folder, undisturbed, tmp_path, verb, suffix, number, moment, said):
    out = tmp_path / f"r{suffix}"
    given = arguments(verb, folder, out)
    ended = command(given, folder=tmp_path / "said", number=number, moment=moment)
    told_in_one_sentence(ended, number)
    assert re.search(said, ended.err)
    assert not out.exists()
    assert names(tmp_path) <= {f"{out.name}.partial", "said"}
    assert (f"{out.name}.partial" in names(tmp_path)) or KEPT not in ended.err
    again = command(given, folder=tmp_path / "said")
    assert again.code == 0, again.err
    assert written(out) == undisturbed(verb, suffix)
    assert names(tmp_path) <= {out.name, f"{out.name}.job.json", "said"}


def names(folder):
    return {path.name for path in folder.iterdir()}


def told_in_one_sentence(ended, number):
    assert ended.code == CODES[number], ended.err
    assert "Traceback" not in ended.err
    (line,) = [line for line in ended.err.splitlines() if line.startswith("error:")]
    assert line.startswith("error: Interrupted. ")


@pytest.mark.slow
def test_append(folder, tmp_path):
    """The atlas is as it was, then as with samples that nobody disturbed."""
    atlases = [tmp_path / "whole" / "a.zarr", tmp_path / "hurt" / "a.zarr"]
    for atlas in atlases:
        assert command(preprocessing(folder, atlas), folder=tmp_path / "said").code == 0
    before = stored(str(atlases[0]))
    given = [("preprocess", folder / "two.h5ad", "--append", "--out", atlas) for atlas in atlases]
    assert command(given[0], folder=tmp_path / "said").code == 0
    moment = Moment(RECEIPTS, 1, after=True)
    ended = command(given[1], folder=tmp_path / "said", number=SIGTERM, moment=moment)
    told_in_one_sentence(ended, SIGTERM)
    assert KEPT in ended.err
    assert before.items() <= stored(str(atlases[1])).items()
    assert command(given[1], folder=tmp_path / "said").code == 0
    assert stored(str(atlases[0])).keys() == stored(str(atlases[1])).keys()
    assert names(tmp_path / "hurt") == {"a.zarr"}


STEP = "atlasbasset.engine.loop:_Worker._step"
SLOW = pytest.mark.slow
SOLVE = "atlasbasset.engine.final_solve:solve_layer"
MEASURE = "atlasbasset.engine.validation:Monitor.measure"
TRAININGS = [
    pytest.param(SIGINT, Moment(SOLVE), "Nothing was learned yet", marks=SLOW),
    (SIGTERM, Moment(STEP), "after step 1 of epoch 1"),
    pytest.param(SIGINT, Moment(STEP, 2, after=True), "after step 2 of epoch 1", marks=SLOW),
    pytest.param(SIGTERM, Moment(MEASURE), " of epoch 1", marks=SLOW),
    pytest.param(SIGINT, Moment(SOLVE, 2), "after epoch 3", marks=SLOW),
]


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    place = tmp_path_factory.mktemp("trained")
    done = command(training(folder, place / "m"), folder=place / "said")
    assert done.code == 0, done.err
    return learned(place / "m")


@pytest.mark.parametrize(("number", "moment", "said"), TRAININGS)
def test_training_keeps_its_last_step(folder, trained, tmp_path, number, moment, said):
    given = training(folder, tmp_path / "m")
    ended = command(given, folder=tmp_path / "said", number=number, moment=moment)
    told_in_one_sentence(ended, number)
    assert said in ended.err
    again = command(given, folder=tmp_path / "said")
    assert again.code == 0, again.err
    assert learned(tmp_path / "m") == trained
    assert names(tmp_path) == {"m", "said"}


@pytest.mark.slow
def test_training_interrupted_again_and_again(folder, trained, tmp_path):
    """At each first step: every run adds one."""
    given = training(folder, tmp_path / "m")
    for step in range(1, 4):
        ended = command(given, folder=tmp_path / "said", number=SIGINT, moment=Moment(STEP))
        told_in_one_sentence(ended, SIGINT)
        assert re.search(rf"after (step {step} of epoch 1|epoch 1|step \d of epoch 2)\.", ended.err)
    assert command(given, folder=tmp_path / "said").code == 0
    assert learned(tmp_path / "m") == trained


def until(condition, process):
    while process.is_alive() and not condition():
        time.sleep(0.02)


@SLOW
@pytest.mark.parametrize("to_all", [False, True], ids=["to the parent", "to the group"])
def test_processes_of_a_training(folder, tmp_path, to_all):
    """With a signal to the parent alone, and to all, as from a terminal."""
    options = ("--workers", 2, "--launcher", "process")
    given = training(folder, tmp_path / "m", epochs=15, options=(*options, "--patience", 99))
    process = start(given, folder=tmp_path / "said")
    until((tmp_path / "m" / "latest.json").exists, process)
    ranks = psutil.Process(process.pid).children(recursive=True)
    for one in [*ranks, process] if to_all else [process]:
        os.kill(one.pid, SIGINT)
    ended = finished(process, tmp_path / "said")
    told_in_one_sentence(ended, SIGINT)
    assert "resumes from its newest checkpoint, after " in ended.err
    _, alive = psutil.wait_procs(ranks, timeout=10)
    assert not alive
    done = len(ModelStore.open(tmp_path / "m").newest().state["history"])
    given = training(folder, tmp_path / "m", epochs=15, options=("--patience", 99))
    again = command(given, folder=tmp_path / "said")
    assert again.code == 0, again.err
    assert done < len(ModelStore.open(tmp_path / "m").newest().state["history"]) == 15


@SLOW
def test_discovery(tmp_path):
    pytest.importorskip("modiscolite", reason="modisco-lite is not installed")
    result = planted(tmp_path / "ism", 300)
    given = ("discover", result, "--group", "T", "--out", tmp_path / "r")
    moment = Moment("atlasbasset.verbs.discover:_write")
    ended = command(given, folder=tmp_path / "said", number=SIGTERM, moment=moment)
    told_in_one_sentence(ended, SIGTERM)
    assert NOTHING in ended.err
    assert names(tmp_path) == {"ism", "said"}
    again = command(given, folder=tmp_path / "said")
    assert again.code == 0, again.err
    assert names(tmp_path) == {"ism", "said", "r"}


@pytest.mark.ray
@SLOW
def test_preprocess_by_workers(folder, undisturbed, tmp_path):
    out = tmp_path / "r"
    given = (*preprocessing(folder, out), "--workers", 1)
    moment = Moment(RECORD, 1, after=True)
    ended = command(given, folder=tmp_path / "said", number=SIGTERM, moment=moment)
    told_in_one_sentence(ended, SIGTERM)
    assert KEPT in ended.err
    again = command(preprocessing(folder, out), folder=tmp_path / "said")
    assert again.code == 0, again.err
    assert written(out) == undisturbed("preprocess", "")


@SLOW
def test_preprocess_by_dask(folder, undisturbed, tmp_path):
    cluster = pytest.importorskip("distributed").LocalCluster
    out = tmp_path / "r"
    with cluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as workers:
        given = (*preprocessing(folder, out), "--dask", workers.scheduler_address)
        moment = Moment(RECORD, 1, after=True)
        ended = command(given, folder=tmp_path / "said", number=SIGINT, moment=moment)
        told_in_one_sentence(ended, SIGINT)
        assert KEPT in ended.err
        again = command(given, folder=tmp_path / "said")
        assert again.code == 0, again.err
    assert written(out) == undisturbed("preprocess", "")


def ray_ended(children):
    _, alive = psutil.wait_procs(children, timeout=20)
    return not alive


@pytest.mark.ray
@pytest.mark.slow
def test_workers_of_ray(folder, undisturbed, tmp_path):
    """SIGTERM, whose handlers Ray would replace."""
    out = tmp_path / "r"
    given = (*arguments("denoise", folder, out), "--workers", 1)
    moment = Moment(RECORD, 1, after=True)
    process = start(given, folder=tmp_path / "said", number=signal.SIGSTOP, moment=moment)
    driver = psutil.Process(process.pid)
    until(lambda: driver.status() == psutil.STATUS_STOPPED, process)
    children = driver.children(recursive=True)
    assert any("raylet" in child.name() for child in children)
    os.kill(process.pid, SIGTERM)
    os.kill(process.pid, signal.SIGCONT)
    ended = finished(process, tmp_path / "said")
    told_in_one_sentence(ended, SIGTERM)
    assert KEPT in ended.err
    assert ray_ended(children)
    again = command(arguments("denoise", folder, out), folder=tmp_path / "said")
    assert again.code == 0, again.err
    assert written(out) == undisturbed("denoise", "")


@pytest.mark.ray
@pytest.mark.slow
def test_a_training_on_ray(folder, tmp_path):
    options = ("--workers", 2, "--launcher", "ray", "--patience", 99)
    given = training(folder, tmp_path / "m", epochs=40, options=options)
    process = start(given, folder=tmp_path / "said")
    until((tmp_path / "m" / "latest.json").exists, process)
    children = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, SIGTERM)
    ended = finished(process, tmp_path / "said")
    told_in_one_sentence(ended, SIGTERM)
    assert "resumes from its newest checkpoint, after " in ended.err
    assert ray_ended(children)
    assert not (tmp_path / "m" / "ray").exists()


def test_a_second_signal_ends_at_once(folder, tmp_path):
    """Also while the first one waits for a step that takes for ever."""
    moment = Moment("atlasbasset.engine.loop:Saver.save")
    process = start(
        training(folder, tmp_path / "m", options=("--checkpoint-s", 0)),
        folder=tmp_path / "said",
        number=signal.SIGSTOP,
        moment=moment,
    )
    stopped = psutil.Process(process.pid)
    until(lambda: stopped.status() == psutil.STATUS_STOPPED, process)
    os.kill(process.pid, SIGINT)
    os.kill(process.pid, signal.SIGCONT)
    time.sleep(0.4)
    if process.is_alive():
        os.kill(process.pid, SIGINT)
    assert finished(process, tmp_path / "said").code == 130


def test_functions_raise_the_interrupt_after_the_same_clean_up(folder, tmp_path):
    """In a notebook, where no handler of ours is."""
    handlers = [signal.getsignal(number) for number in CODES]
    events = []

    def on_event(event):
        events.append(event)
        if type(event).__name__ == "StepDone":
            os.kill(os.getpid(), SIGINT)

    settings = atlasbasset.TrainConfig(
        init_from=str(folder / "model"), batch_size=16, n_auroc_peaks=20, compute="fp32", epochs=2
    )
    with pytest.raises(KeyboardInterrupt):
        atlasbasset.train(folder / "atlas", out=tmp_path / "m", config=settings, on_event=on_event)
    assert ModelStore.open(tmp_path / "m").newest().state["step"] == 1
    assert [signal.getsignal(number) for number in CODES] == handlers

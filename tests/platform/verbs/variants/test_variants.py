from __future__ import annotations

import gzip
import json
import shutil
from dataclasses import replace

import anndata
import numpy as np
import pandas as pd
import pytest

import atlasbasset
from atlasbasset.batch.model_source import ModelSource, model_identity
from atlasbasset.verbs.variants import work as variant_units
from atlasbasset.verbs.variants.variants import variants
from atlasbasset.verbs.variants.work import EmbedVariants
from atlasstore.errors import AtlasError, GenomeError, StoreExistsError, UserInputError
from atlasstore.events import Notice, Progress
from atlasstore.genome import variant_batches
from atlasstore.genome.fasta import Genome
from atlasstore.results.result import Result
from ray_cluster import own_ray
from small_atlas import random_chromosomes, write_fasta
from small_model import TINY, random_weights, write_model
from small_tables import small_tables

L, N, E = TINY.window_bp, 9, TINY.embedding_dim
LENGTHS = {"chrI": 2000, "chrII": 700}
HEADER = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"


@pytest.fixture(scope="module")
def chromosomes():
    return random_chromosomes(np.random.default_rng(2), LENGTHS, letters=b"ACGTacgt")


@pytest.fixture(scope="module")
def genome(chromosomes, tmp_path_factory):
    return write_fasta(tmp_path_factory.mktemp("genome") / "g.fa", chromosomes)


def make_model(folder, *, n_batches=0):
    weights = random_weights(np.random.default_rng(7), N, n_batches=n_batches)
    obs = pd.DataFrame(
        {"kind": pd.Categorical(["b", "a", "a"] * 3), "mixed": ["x", None, "y"] * 3},
        index=[f"cell{i}" for i in range(N)],
    )
    if n_batches:
        obs["scbasset_batch"] = weights.batch
    url = write_model(folder / f"model{n_batches}", weights, obs=obs)
    return atlasbasset.load_model(url, device="cpu")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("m"))


@pytest.fixture(scope="module")
def vcf(tmp_path_factory, chromosomes):
    """Unsorted: substitutions, indels, several alleles of one record, and what cannot be done."""
    chrI, chrII = chromosomes["chrI"], chromosomes["chrII"]
    others = "".join(sorted(set("ACGT") - {chrII[299].upper()}))
    records = [
        ("chrII", 300, chrII[299], ",".join(others)),
        ("chrI", 1, chrI[0], _other(chrI[0])),
        ("chrI", 2000, chrI[1999], f"{_other(chrI[1999])},{chrI[1999]}GG"),
        ("chrI", 900, chrI[899:905], chrI[899]),
        ("chrI", 500, _other(chrI[499]), chrI[499]),
        ("chrI", 700, chrI[699:703], "".join(map(_other, chrI[699:703]))),
        ("chrI", 12, chrI[11], "<DUP>,*,."),
        ("chrX", 12, "A", "C"),
        ("chrI", 2001, "A", "C"),
        ("chrI", 40, chrI[39], chrI[39] + "ACGT" * 20),
    ]
    path = tmp_path_factory.mktemp("vcf") / "v.vcf"
    lines = [f"{c}\t{p}\t.\t{ref}\t{alt}\t.\t.\t.\n" for c, p, ref, alt in records]
    path.write_text(HEADER + "".join(lines))
    return path


STATUSES = [*["ok"] * 7, "reference_mismatch", "ok", "symbolic", "symbolic", "no_alternate"]
STATUSES += ["unknown_chromosome", "outside", "too_long"]


def _other(base: str) -> str:
    return "ACGT"["CGTA".index(base.upper())]


def expected(model, chromosomes, obs, *, cells=slice(None)):
    """Effects by full passes over windows built as text; NaN where the status is not ok."""
    rows = []
    for row in obs.itertuples():
        if row.status != "ok":
            rows.append(np.full(E, np.nan, np.float32))
            continue
        h = model.embed(window_pair(chromosomes, row))
        rows.append(h[1] - h[0])
    return np.stack(rows)


def windows(chromosomes, obs):
    return [window_pair(chromosomes, row) for row in obs.itertuples()]


def window_pair(chromosomes, row):
    """The window without and with the allele, as text."""
    whole, first = chromosomes[row.chrom], row.pos - 1
    start, stop = first, first + len(row.ref)
    if len(row.ref) != len(row.alt):  # the first base stays
        start += 1
    middle = (start + stop) // 2
    changed = whole[:first] + row.alt + whole[first + len(row.ref) :]
    return [("N" * L + text + "N" * L)[middle + L // 2 :][:L] for text in (whole, changed)]


@pytest.fixture
def small_pieces(monkeypatch):
    """Several units of each stage."""
    monkeypatch.setattr(variant_batches, "PIECE", 4)
    monkeypatch.setattr(variant_units, "PIECE", 4)
    small_tables(monkeypatch.setattr, chunk_bytes=2 * N * 4, shard_bytes=6 * N * 4)


@pytest.mark.parametrize("n_batches", [0, 3])
def test_effects_per_cell(n_batches, chromosomes, genome, vcf, tmp_path, small_pieces):
    model, out = make_model(tmp_path, n_batches=n_batches), tmp_path / "result"
    report = variants(model.url, vcf=vcf, genome=genome, out=out, compute="fp32")
    found = anndata.read_zarr(out)
    assert list(found.obs["status"]) == STATUSES
    assert list(found.obs["pos"][:5]) == [300, 300, 300, 1, 2000]
    assert found.obs_names.is_unique
    assert list(found.var_names) == list(model.obs_names)
    h = expected(model, chromosomes, found.obs)
    np.testing.assert_allclose(found.obsm["scbasset_sequence"], h, atol=2e-6)
    np.testing.assert_allclose(found.X, h @ model.cell_embedding.T, atol=1e-5)
    np.testing.assert_array_equal(found.varm["X_scbasset"], model.cell_embedding)
    assert found.X.dtype == np.float32
    counts = report.as_json()["counts"]
    assert counts == {s: STATUSES.count(s) for s in dict.fromkeys(sorted(STATUSES))}
    assert next(iter(counts)) == "ok"
    assert report.as_json() == {
        "n_variants": len(STATUSES),
        "result": str(out),
        "counts": counts,
        "group_by": None,
        "n_groups": N,
        "table_bytes": len(STATUSES) * (N + E) * 4,
        "was_finished": False,
    }


def test_effects_per_group_are_means_over_its_cells(model, genome, vcf, tmp_path):
    variants(model, vcf=vcf, genome=genome, out=tmp_path / "cells")
    report = variants(model, vcf=vcf, genome=genome, out=tmp_path / "groups", group_by="kind")
    cells, groups = (anndata.read_zarr(tmp_path / name) for name in ("cells", "groups"))
    assert list(groups.var_names) == ["a", "b"]
    assert list(groups.var["n_cells"]) == [6, 3]
    kind = model.obs["kind"].to_numpy()
    for column, name in enumerate("ab"):
        wanted = cells.X[:, kind == name].mean(1)
        np.testing.assert_allclose(groups.X[:, column], wanted, atol=1e-5)
    assert (report.n_groups, report.group_by) == (2, "kind")


@pytest.mark.parametrize("both_strands", [False, True])
@pytest.mark.parametrize("scale", ["sigmoid", "probability"])
def test_effects_after_a_sigmoid_are_means_over_cells(
    chromosomes, genome, vcf, tmp_path, small_pieces, scale, both_strands
):
    model = make_model(tmp_path, n_batches=2)
    options = {"vcf": vcf, "genome": genome, "both_strands": both_strands}
    obs = pd.DataFrame({"day": ["d2", "d10", "d2", "d2"]}, [f"cell{i}" for i in (7, 2, 0, 4)])
    variants(model, out=tmp_path / "cells", scale=scale, **options)
    variants(model, out=tmp_path / "groups", scale=scale, group_by="day", obs=obs, **options)
    variants(model, out=tmp_path / "linear", **options)
    cells, groups, linear = (
        anndata.read_zarr(tmp_path / name) for name in ("cells", "groups", "linear")
    )
    table = model.table() if scale == "probability" else (model.cell_embedding, 0)
    if not both_strands:
        is_ok = cells.obs["status"].to_numpy() == "ok"
        expected = []
        for pair in windows(chromosomes, cells.obs[is_ok]):
            logits = model.embed(pair) @ table[0].T + table[1]
            expected.append(np.subtract(*(1 / (1 + np.exp(-logits.astype(float))))[::-1]))
        np.testing.assert_allclose(cells.X[is_ok], expected, atol=2e-6)
    assert list(groups.var_names) == ["d2", "d10"]
    np.testing.assert_allclose(groups.X[:, 0], cells.X[:, [0, 4, 7]].mean(1), atol=1e-6)
    np.testing.assert_allclose(groups.X[:, 1], cells.X[:, 2], atol=1e-6)
    sequence = "scbasset_sequence"
    np.testing.assert_allclose(cells.obsm[sequence], linear.obsm[sequence], atol=1e-7)
    assert (np.isnan(cells.X) == np.isnan(linear.X)).all()
    assert cells.uns["scbasset"]["scale"] == scale


def test_factored_form_alone(model, genome, vcf, tmp_path):
    variants(model, vcf=vcf, genome=genome, out=tmp_path / "whole")
    variants(model, vcf=vcf, genome=genome, out=tmp_path / "factored", dense=False)
    whole, found = (anndata.read_zarr(tmp_path / name) for name in ("whole", "factored"))
    assert found.X is None
    product = found.obsm["scbasset_sequence"] @ found.varm["X_scbasset"].T
    np.testing.assert_allclose(product, whole.X, atol=1e-5)
    result = Result.open(tmp_path / "factored")
    assert result.kind == "variants"
    np.testing.assert_allclose(result.linear(2, 9), whole.X[2:9], atol=1e-5)
    np.testing.assert_allclose(result.to_anndata().X[3:5].compute(), whole.X[3:5], atol=1e-5)
    Result.open(tmp_path / "whole").verify()


def test_both_strands(model, chromosomes, genome, vcf, tmp_path):
    """The mean of the effect on a genome and on its reverse complement."""
    complement = str.maketrans("ACGTacgt", "TGCATGCA")
    turned = {name: text.translate(complement)[::-1] for name, text in chromosomes.items()}
    out = tmp_path / "both"
    variants(model, vcf=vcf, genome=genome, out=out, both_strands=True)
    found = anndata.read_zarr(out)
    is_snv = (found.obs["status"] == "ok") & (found.obs["alt"].str.len() == 1)
    snvs = found.obs[is_snv & (found.obs["ref"].str.len() == 1)]
    # a window of even length around a base is not centred on the other strand: one base beside
    for name, row in snvs.iterrows():
        h = []
        for text, at in ((chromosomes, row.pos - 1), (turned, LENGTHS[row.chrom] - row.pos)):
            start = at - L // 2 + (text is turned)
            whole = text[row.chrom]
            alt = row.alt if text is chromosomes else row.alt.translate(complement)
            pair = [whole, whole[:at] + alt + whole[at + 1 :]]
            h.append(model.embed([("N" * L + t + "N" * L)[start + L :][:L] for t in pair]))
        wanted = np.mean([pair[1] - pair[0] for pair in h], axis=0)
        at = found.obs_names.get_loc(name)
        np.testing.assert_allclose(found.obsm["scbasset_sequence"][at], wanted, atol=2e-6)
    assert len(snvs) == 5


@pytest.mark.parametrize("compress", [False, True])
def test_order_and_compression_of_the_file_change_nothing(
    model, genome, vcf, tmp_path, compress, small_pieces
):
    variants(model, vcf=vcf, genome=genome, out=tmp_path / "one")
    lines = vcf.read_text().removeprefix(HEADER).splitlines(keepends=True)
    lines.sort(key=lambda line: (line.split("\t")[0], int(line.split("\t")[1])))
    text = (HEADER + "".join(lines)).encode()
    again = tmp_path / "sorted.vcf"
    again.write_bytes(gzip.compress(text) if compress else text)
    variants(model, vcf=again, genome=genome, out=tmp_path / "two")
    one, two = (anndata.read_zarr(tmp_path / name) for name in ("one", "two"))
    assert list(one.obs_names) != list(two.obs_names)
    # other variants share a batch: sums in another order
    np.testing.assert_allclose(two[one.obs_names].X, one.X, atol=2e-6)


def test_a_killed_job_goes_on(model, genome, vcf, tmp_path, monkeypatch, small_pieces):
    whole, out = tmp_path / "whole", tmp_path / "result"
    variants(model, vcf=vcf, genome=genome, out=whole)
    done: list[int] = []
    work = EmbedVariants.__call__

    def dies_at_the_third(self, unit):
        if unit["start"] == 8 and 8 not in done:
            done.append(8)
            raise KeyboardInterrupt
        done.append(unit["start"])
        return work(self, unit)

    monkeypatch.setattr(EmbedVariants, "__call__", dies_at_the_third)
    options = {"vcf": vcf, "genome": genome, "out": out}
    with pytest.raises(KeyboardInterrupt):
        variants(model, **options)
    assert not out.exists()
    with pytest.raises(UserInputError, match="group_by"):
        variants(model, **options, group_by="kind")
    events: list[object] = []
    variants(model, **options, on_event=events.append)
    assert done == [0, 4, 8, 8, 12]
    one, two = anndata.read_zarr(whole), anndata.read_zarr(out)
    np.testing.assert_array_equal(one.X, two.X)
    pd.testing.assert_frame_equal(one.obs, two.obs)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["result", "whole"]


def test_a_finished_result_is_left_as_it_is(model, genome, vcf, tmp_path):
    options = {"vcf": vcf, "genome": genome, "out": tmp_path / "r"}
    first = variants(model, **options)
    events: list[object] = []
    again = variants(model, **options, on_event=events.append)
    assert again.was_finished
    assert again.counts == first.counts
    assert [type(event) for event in events] == [Notice]
    with pytest.raises(StoreExistsError, match="both_strands"):
        variants(model, **options, both_strands=True)


def test_other_cells_in_the_groups_are_another_job(model, genome, vcf, tmp_path):
    options = {"vcf": vcf, "genome": genome, "out": tmp_path / "r", "group_by": "kind"}
    variants(model, **options)
    obs = model.obs.assign(kind=list(model.obs["kind"])[::-1])  # the same names, other cells
    other = write_model(tmp_path / "m", random_weights(np.random.default_rng(7), N), obs=obs)
    with pytest.raises(StoreExistsError, match="groups"):
        variants(other, **options)


def test_workers_notice_a_model_that_has_moved_on(tmp_path):
    begun = make_model(tmp_path)
    work = EmbedVariants(
        ModelSource(begun.url, model_identity(begun), "cpu"), "g.fa", "pieces", "effects"
    )
    assert work._engine.width == E
    shutil.rmtree(begun.url)
    write_model(begun.url, random_weights(np.random.default_rng(8), N), obs=begun.obs)
    again = replace(work, model=replace(work.model))  # as an actor that was started anew
    with pytest.raises(AtlasError, match="has changed since the job began"):
        _ = again._engine


def test_what_is_said(model, genome, vcf, tmp_path):
    events: list[object] = []
    variants(model, vcf=vcf, genome=genome, out=tmp_path / "r", on_event=events.append)
    notice = next(event for event in events if isinstance(event, Notice))
    assert notice.message.startswith("7 of 15 variants are not evaluated (1 no_alternate, 2 symb")
    stages = {event.stage: event.done for event in events if isinstance(event, Progress)}
    assert stages == dict.fromkeys(
        ("embedding variants", "writing embeddings", "writing effects"), len(STATUSES)
    )
    provenance = json.loads(anndata.read_zarr(tmp_path / "r").uns["scbasset"]["provenance"])
    assert [item["url"] for item in provenance["inputs"]] == [str(vcf), str(genome)]
    assert provenance["config"]["model"] == model.url


def test_most_alleles_of_another_genome_are_pointed_out(model, chromosomes, genome, tmp_path):
    text = chromosomes["chrI"]
    lines = [f"chrI\t{p + 1}\t.\t{_other(text[p])}\t{text[p]}\n" for p in range(3)]
    path = tmp_path / "v.vcf"
    path.write_text(HEADER + "".join(lines) + f"chrI\t9\t.\t{text[8]}\t{_other(text[8])}\n")
    events: list[object] = []
    variants(model, vcf=path, genome=genome, out=tmp_path / "r", on_event=events.append)
    assert any("another assembly" in getattr(event, "message", "") for event in events)


def test_wrong_input_leaves_nothing(model, chromosomes, genome, vcf, tmp_path):
    bad = tmp_path / "bad.vcf"
    bad.write_text(HEADER + "chrI\t5\n")
    other_names = tmp_path / "names.vcf"
    other_names.write_text(HEADER + "I\t5\t.\tA\tC\n1\t5\t.\tA\tC\n")
    elsewhere = tmp_path / "elsewhere.vcf"
    wrong = _other(chromosomes["chrI"][4])
    elsewhere.write_text(HEADER + f"chrI\t5\t.\t{wrong}\t{_other(wrong)}\n")
    late = tmp_path / "late.vcf"
    late.write_text(vcf.read_text() + "chrI\tfive\t.\tA\tC\n")
    cases = [
        ({"vcf": bad}, UserInputError, "line 3 is"),
        ({"vcf": late}, UserInputError, "line 13 is"),
        ({"vcf": tmp_path / "no.vcf"}, UserInputError, "does not exist"),
        ({"vcf": genome}, UserInputError, "is no VCF"),
        ({"vcf": other_names}, GenomeError, "put the prefix 'chr' before the names"),
        ({"vcf": elsewhere}, GenomeError, "none of the 1 variants .* fits"),
        ({"genome": tmp_path / "no.fa"}, GenomeError, "no.fa does not exist"),
        ({"genome": "memory://none/g.fa"}, GenomeError, "genome memory://none/g.fa does not exist"),
        ({"group_by": "type"}, UserInputError, "no column 'type'"),
        ({"obs": model.obs}, UserInputError, "name the column to group by"),
        ({"scale": "log"}, UserInputError, "scale must be one of linear, sigmoid, probability"),
        ({"scale": "sigmoid", "dense": False}, UserInputError, "the factored form is linear"),
        ({"max_allele_bp": 0}, UserInputError, "max_allele_bp must be 1 to 96"),
        ({"max_allele_bp": 97}, UserInputError, "max_allele_bp must be 1 to 96"),
        ({"workers": -1}, UserInputError, "workers must be 0"),
        ({"out": genome}, StoreExistsError, "exists already"),
    ]
    before = sorted(tmp_path.rglob("*"))
    for options, error, message in cases:
        with pytest.raises(error, match=message):
            variants(model, **{"vcf": vcf, "genome": genome, "out": tmp_path / "r", **options})
        assert sorted(tmp_path.rglob("*")) == before, options


@pytest.mark.real
def test_made_up_variants_of_a_real_genome(model, real_data, tmp_path):
    fasta = real_data / "worm" / "ce10.fa.gz"
    rng = np.random.default_rng(5)
    lines = []
    with Genome.open(fasta) as genome:
        chroms = list(genome.chrom_lengths)
        for _ in range(60):
            chrom = str(rng.choice(chroms))
            pos = int(rng.integers(1, genome.chrom_lengths[chrom] - 9))
            ref = "".join("ACGT"[code] for code in genome.codes(chrom, pos - 1, pos + 3))
            alt = rng.choice([_other(ref[0]) + ref[1:], ref[0], ref + "TT", ref[:2]])
            lines.append(f"{chrom}\t{pos}\t.\t{ref}\t{alt}\n")
        whole = "".join("ACGTN"[c] for c in genome.codes("chrM", 0, genome.chrom_lengths["chrM"]))
    path = tmp_path / "v.vcf"
    path.write_text(HEADER + "".join(lines) + f"chrM\t1\t.\t{whole[0]}\t{_other(whole[0])}\n")
    variants(model, vcf=path, genome=fasta, out=tmp_path / "r", compute="fp32")
    found = anndata.read_zarr(tmp_path / "r")
    assert set(found.obs["status"]) == {"ok"}
    assert not np.isnan(found.X).any()
    on_chrM = found.obs[found.obs["chrom"] == "chrM"].iloc[-1:]
    h = expected(model, {"chrM": whole}, on_chrM)
    np.testing.assert_allclose(found.obsm["scbasset_sequence"][-1:], h, atol=2e-6)


@pytest.fixture
def cluster():
    with own_ray():
        yield


@pytest.mark.ray
@pytest.mark.slow
def test_workers_write_the_same_bits(cluster, model, chromosomes, genome, tmp_path):
    n = variant_batches.PIECE + 300  # two pieces
    places = np.random.default_rng(1).integers(0, LENGTHS["chrI"], n)
    letters = [chromosomes["chrI"][p] for p in places]
    lines = [
        f"chrI\t{p + 1}\t.\t{ref}\t{_other(ref)}\n" for p, ref in zip(places, letters, strict=True)
    ]
    vcf = tmp_path / "v.vcf"
    vcf.write_text(HEADER + "".join(lines))
    options = {"vcf": vcf, "genome": genome, "group_by": "kind", "compute": "fp32"}
    for workers in (0, 2):
        report = variants(model, out=tmp_path / f"by{workers}", workers=workers, **options)
        assert report.counts == {"ok": n}
    one, two = (anndata.read_zarr(tmp_path / f"by{workers}") for workers in (0, 2))
    assert one.obs_names.is_unique
    np.testing.assert_array_equal(one.X, two.X)
    np.testing.assert_array_equal(one.obsm["scbasset_sequence"], two.obsm["scbasset_sequence"])

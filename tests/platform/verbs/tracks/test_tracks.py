"""`tracks`: values of the files against the model and the labels, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

import atlasbasset
from atlasbasset.verbs.shared.regions import Region, parsed_region, refuse_overlaps
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import StoreExistsError, UserInputError
from atlasstore.events import Notice
from atlasstore.files import urls
from atlasstore.genome.fasta import Genome
from small_tracks import GROUPS, N_PEAKS


def records(made, kind: str, group: str, chrom: str) -> list[tuple[int, int, float]]:
    import pybigtools

    about = json.loads((made.out / "tracks.json").read_text())
    file = next(g["files"][kind] for g in about["groups"] if g["name"] == group)
    return list(pybigtools.open(str(made.out / file)).records(chrom))


def probabilities(made, codes: np.ndarray) -> np.ndarray:
    """What denoised tracks must show, by the model's own functions, (sequences, groups)."""
    model = atlasbasset.load_model(made.model, convolution="direct")
    atlas = Atlas.open(made.atlas)
    of_peaks = model.embed(atlas.sequence_codes(0, N_PEAKS)[:, 3:-3])
    mean = of_peaks.mean(0)
    depth = np.median(model.cell_embedding @ mean + model.intercept)
    groups = np.stack(
        [model.cell_embedding[made.group == g].mean(0) for g in range(len(GROUPS))], axis=1
    )
    return 1 / (1 + np.exp(-((model.embed(codes) - mean) @ groups + depth)))


@pytest.mark.parametrize("g", [0, 2])
def test_observed_tracks_are_shares_of_open_cells(made, g) -> None:
    shares = made.labels[made.group == g].mean(0)
    peaks = Atlas.open(made.atlas).var
    found = [r for chrom in ("chrI", "chrII") for r in records(made, "observed", GROUPS[g], chrom)]
    assert [(a, b) for a, b, _ in found] == list(zip(peaks["start"], peaks["end"], strict=True))
    np.testing.assert_allclose([v for *_, v in found], shares, rtol=1e-6)


def test_denoised_tracks_are_the_models_at_one_depth(made) -> None:
    codes = Atlas.open(made.atlas).sequence_codes(0, N_PEAKS)[:, 3:-3]
    wanted = probabilities(made, codes)
    for g, group in enumerate(GROUPS):
        found = [r for chrom in ("chrI", "chrII") for r in records(made, "denoised", group, chrom)]
        np.testing.assert_allclose([v for *_, v in found], wanted[:, g], rtol=1e-4)


def test_predicted_tracks_are_windows_around_the_middle_of_each_step(made) -> None:
    found = records(made, "predicted", GROUPS[1], "chrII")
    assert [(a, b) for a, b, _ in found] == [(s, min(s + 100, 2050)) for s in range(0, 2050, 100)]
    with Genome.open(made.genome) as genome:
        middles = np.arange(0, 2050, 100) + 50
        codes = np.stack([genome.codes("chrII", m - 192, m + 192) for m in middles])
    np.testing.assert_allclose([v for *_, v in found], probabilities(made, codes)[:, 1], rtol=1e-4)
    first = records(made, "predicted", GROUPS[1], "chrI")
    assert (first[0][0], first[-1][1]) == (1000, 6000)


def test_the_sequence_and_its_index_are_the_genomes(made) -> None:
    assert (made.out / "genome.fa.fai").exists()
    with Genome.open(made.out / "genome.fa") as copied, Genome.open(made.genome) as genome:
        assert copied.chrom_lengths == genome.chrom_lengths
        for chrom, length in genome.chrom_lengths.items():
            assert (copied.codes(chrom, 0, length) == genome.codes(chrom, 0, length)).all()
    index = (made.out / "genome.fa.fai").read_text().splitlines()[1].split("\t")
    text = (made.out / "genome.fa").read_bytes()
    assert text[int(index[2]) - 7 : int(index[2])] == b">chrII\n"


def test_the_page_stands_on_files_of_the_folder_alone(made) -> None:
    about = json.loads((made.out / "tracks.json").read_text())
    files = {file for group in about["groups"] for file in group["files"].values()}
    assert len(files) == 3 * len(GROUPS)
    named = [about["chromosomes"], *about["sequence"].values()]
    for file in [*files, *named, *(one["file"] for one in about["annotations"])]:
        assert (made.out / file).is_file(), file
    assert "MIT" in (made.out / "igv-LICENSE.md").read_text()


def test_without_a_genome_chromosomes_end_after_their_last_peak(made, tmp_path) -> None:
    report = atlasbasset.tracks(
        made.model, made.atlas, group_by="cell_type", out=tmp_path / "t", convolution="direct"
    )
    assert report.kinds == ("denoised", "observed")
    assert (tmp_path / "t" / "chromosomes.tsv").read_text() == "chrI\t30384\nchrII\t30384\n"
    assert report.n_files == len([p for p in (tmp_path / "t").rglob("*") if p.is_file()])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"genome_wide": ["chrI"]}, "need the genome"),
        ({"with_sequence": True}, "need the genome"),
        ({"step_bp": 0}, "step_bp must be 1 or more"),
        ({"group_by": "absent"}, "absent"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    made, tmp_path, options, message
) -> None:
    given = {"group_by": "cell_type"} | options
    with pytest.raises(UserInputError, match=message):
        atlasbasset.plan_tracks(made.model, made.atlas, out=tmp_path / "t", **given)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_exists_is_refused(made, tmp_path) -> None:
    with pytest.raises(StoreExistsError):
        atlasbasset.plan_tracks(made.model, made.atlas, out=tmp_path, group_by="cell_type")


def test_the_plan_counts_windows_and_files(made, tmp_path) -> None:
    plan = atlasbasset.plan_tracks(
        made.model, made.atlas, group_by="cell_type", out=tmp_path / "t", genome=made.genome,
        genome_wide=["chrII"], step_bp=1000,
    )  # fmt: skip
    assert plan.n_windows == 35
    assert "bigWig files  12" in str(plan)


def test_regions_are_read_and_wrong_ones_refused() -> None:
    lengths = {"chr1": 5000, "chr1:odd": 90}
    assert parsed_region("chr1", lengths) == Region("chr1", 0, 5000)
    assert parsed_region("chr1:odd", lengths) == Region("chr1:odd", 0, 90)
    assert parsed_region("chr1:1,000-2,000", lengths) == Region("chr1", 1000, 2000)
    for text, message in [
        ("chr7:1-2", "no region of the genome"),
        ("chr1:10-5001", "has 5,000 bp"),
        ("chr1:20-20", "does not lie"),
    ]:
        with pytest.raises(UserInputError, match=message):
            parsed_region(text, lengths)


def test_overlapping_regions_are_refused() -> None:
    refuse_overlaps([Region("a", 5, 9), Region("b", 0, 9), Region("a", 0, 5)])
    with pytest.raises(UserInputError, match="a:0-5 and a:4-9 overlap"):
        refuse_overlaps([Region("a", 4, 9), Region("b", 0, 9), Region("a", 0, 5)])


def test_into_a_bucket_the_same_files_are_put(made) -> None:
    out = "memory://test_tracks/tracks"
    report = atlasbasset.tracks(
        made.model, made.atlas, group_by="cell_type", out=out, genome=made.genome,
        genes=made.genes, genome_wide=["chrI:1,000-6,000", "chrII:0-2050"], step_bp=100,
        with_sequence=True, convolution="direct",
    )  # fmt: skip
    names = sorted(str(p.relative_to(made.out)) for p in made.out.rglob("*") if p.is_file())
    found = urls.read_files(out, names)
    assert report.n_files == len(names)
    for name in names:
        if name != "tracks.json":
            assert found[name] == (made.out / name).read_bytes(), name


def test_a_run_that_fails_goes_on_where_it_was(made, tmp_path) -> None:
    out, events = tmp_path / "t", []
    given = {"group_by": "cell_type", "out": out, "genome": made.genome, "genes": made.genes}
    given |= {"genome_wide": ["chrI:1,000-6,000", "chrII:0-2050"], "step_bp": 100}
    given |= {"convolution": "direct"}

    def fail(event) -> None:
        if getattr(event, "stage", "") == "predicting along the genome":
            raise RuntimeError("a fault")

    with pytest.raises(RuntimeError):
        atlasbasset.tracks(made.model, made.atlas, **given, on_event=fail)
    assert {path.name for path in tmp_path.iterdir()} == {"t.partial"}
    with pytest.raises(UserInputError, match="step_bp 100, now 50"):
        atlasbasset.tracks(made.model, made.atlas, **given | {"step_bp": 50})
    atlasbasset.tracks(made.model, made.atlas, **given, on_event=events.append)
    assert not [e for e in events if e.stage == "embedding sequences" and e.done < e.total]
    assert {path.name for path in tmp_path.iterdir()} == {"t", "t.job.json"}
    files = [path.relative_to(out) for path in out.rglob("*.bw")]
    assert len(files) == 3 * len(GROUPS)
    assert all((out / file).read_bytes() == (made.out / file).read_bytes() for file in files)
    with pytest.raises(StoreExistsError, match="step_bp 100, now 50"):
        atlasbasset.tracks(made.model, made.atlas, **given | {"step_bp": 50})
    events.clear()
    report = atlasbasset.tracks(made.model, made.atlas, **given, on_event=events.append)
    assert (report.groups, report.kinds) == (tuple(GROUPS), ("denoised", "observed", "predicted"))
    assert [type(event) for event in events] == [Notice]
    planned = atlasbasset.plan_tracks(made.model, made.atlas, **given)
    assert dict(planned.lines())["result"] == "finished by the same job: nothing to do"


def test_a_folder_whose_record_a_kill_has_prevented_is_recorded(
    made, tmp_path, monkeypatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(*_args) -> None:
        raise Killed

    out, events = tmp_path / "t", []
    given = {"group_by": "cell_type", "out": out, "convolution": "direct"}
    with monkeypatch.context() as patch:
        patch.setattr("atlasbasset.batch.file_job.write_record", kill)
        with pytest.raises(Killed):
            atlasbasset.tracks(made.model, made.atlas, **given)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    report = atlasbasset.tracks(made.model, made.atlas, **given, on_event=events.append)
    assert "was whole when an earlier run ended" in events[-1].message
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert report.n_files == len(before)
    assert {path.name for path in tmp_path.iterdir()} == {"t", "t.job.json"}

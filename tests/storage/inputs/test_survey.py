"""Many inputs as one atlas: aligned, opened when read, bad ones named or left out."""

from __future__ import annotations

from contextlib import closing
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pandas as pd
import pytest

from atlasstore.errors import CountsError, PeaksError
from atlasstore.events import Notice
from atlasstore.inputs import lazy_source
from atlasstore.inputs.cell_major_copy import FragmentPieces
from atlasstore.inputs.kinds import open_counts
from atlasstore.inputs.samples import Sample, join_obs
from atlasstore.inputs.survey import LeftOut, Survey, survey

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def samples(*urls: Path | str, **options: str) -> list[Sample]:
    return [Sample(f"s{at}", str(url), **options) for at, url in enumerate(urls)]


@pytest.fixture
def look(tmp_path) -> Callable[..., Survey]:
    def look(given: list[Sample], **options) -> Survey:
        return survey(given, scratch=str(tmp_path / "scratch"), **options)

    return look


def shuffled(sample, layout: str, rng: np.random.Generator) -> Path:
    """Write the sample with its peaks in another order."""
    path = sample.folder / f"shuffled-{layout}.h5ad"
    sample.adata(layout)[:, rng.permutation(len(sample.peak_names))].copy().write_h5ad(path)
    return path


def test_other_orders_are_aligned_to_the_first_input(sample, look, rng) -> None:
    found = look(
        samples(
            shuffled(sample, "csr", rng),
            sample.h5ad("dense"),
            sample.tenx_h5(genes=3),
            shuffled(sample, "csc", rng),
            sample.tenx_folder(genes=1),
            sample.fragments(),
        ),
        peaks=str(sample.bed()),
    )
    first = found.peaks.index.to_list()
    assert sorted(first) == sorted(sample.peak_names) != first
    truth = pd.DataFrame(sample.counts, sample.barcodes, sample.peak_names)[first]
    for source in found.sources:
        counts = pd.DataFrame(source.read_cells(0, 23).toarray(), source.obs.index, first)
        pd.testing.assert_frame_equal(counts.loc[truth.index], truth, check_dtype=False)
        assert source.peaks is found.peaks
        source.close()
    assert [s.url for s in found.samples] == [source.name for source in found.sources]


def test_a_spec_travels_and_opens_the_counts_alone(sample, look, rng) -> None:
    listed = sample.text("list.txt", "\n".join(sample.barcodes[4:9]))
    found = look(samples(sample.h5ad(), shuffled(sample, "csc", rng), barcodes=str(listed)))
    for source in found.sources:
        sent = ForkingPickler.dumps(source.spec)
        assert len(sent) < 2000
        with closing(open_counts(ForkingPickler.loads(sent))) as counts:
            assert (counts.name, counts.n_cells, counts.n_peaks) == (source.name, 5, 11)
            np.testing.assert_array_equal(counts.read_cells(1, 4).toarray(), sample.counts[5:8])
        again = ForkingPickler.loads(ForkingPickler.dumps(source))
        np.testing.assert_array_equal(again.read_cells(0, 5).toarray(), sample.counts[4:9])
        again.close()


def test_no_file_is_held_open_but_while_it_is_read(sample, look) -> None:
    path = sample.h5ad()
    (source,) = look(samples(path)).sources

    def is_open() -> bool:
        try:
            h5py.File(path, "r+").close()
        except OSError:
            return True
        return False

    assert not is_open()
    source.read_cells(0, 2)
    assert is_open()
    source.close()
    assert not is_open()
    np.testing.assert_array_equal(source.read_cells(3, 5).toarray(), sample.counts[3:5])
    source.close()


def test_obs_of_all_samples_with_their_columns(sample, look) -> None:
    given = [
        Sample("x", str(sample.h5ad()), None, (("batch", "1"),)),
        Sample("y", str(sample.tenx_h5()), None, (("batch", "2"), ("sex", "f"))),
    ]
    found = look(given)
    obs = join_obs(
        found.sources, [s.name for s in found.samples], columns=[dict(s.columns) for s in given]
    )
    assert list(obs.index) == [f"{n}:{b}" for n in "xy" for b in sample.barcodes]
    assert list(obs["batch"]) == ["1"] * 23 + ["2"] * 23
    assert obs["sex"].isna().sum() == obs["depth"].isna().sum() == 23


def fewer(sample, n_peaks: int) -> Path:
    path = sample.folder / "fewer.h5ad"
    sample.adata("csr")[:, :n_peaks].copy().write_h5ad(path)
    return path


@pytest.mark.parametrize("skip_bad", [False, True])
def test_different_peaks_are_shown_and_never_skipped(sample, look, skip_bad) -> None:
    first = "chr1_alt:900-950, chr2_alt:1000-1050"
    with pytest.raises(
        PeaksError,
        match=rf"fewer.h5ad does not have the peaks of .*csr-float32.h5ad: 9 are in both, "
        rf"2 \({first}\) only in .*csr-float32.h5ad, none only in .*fewer.h5ad; count all",
    ):
        look(samples(sample.h5ad(), fewer(sample, 9)), skip_bad=skip_bad)


def test_fragments_and_matrices_mix_only_on_the_same_peaks(sample, look) -> None:
    given = samples(sample.h5ad(), sample.fragments())
    assert len(look(given, peaks=str(sample.bed())).sources) == 2
    other = sample.text("other.bed", "chr1_alt\t0\t50\nchr1_alt\t5\t60\n")
    with pytest.raises(PeaksError, match=r"1 are in both, 10 .* 1 \(chr1_alt:5-60\) only in .*tsv"):
        look(given, peaks=str(other))


def test_repeated_peaks_are_refused_before_fragments_are_counted(sample, look, monkeypatch) -> None:
    monkeypatch.setattr(FragmentPieces, "count", None)
    bed = sample.text("twice.bed", "chr1_alt\t0\t50\nchr1_alt\t0\t50\n")
    with pytest.raises(PeaksError, match="1 peak repeats"):
        look(samples(sample.fragments()), peaks=str(bed))


@pytest.fixture
def four(sample) -> list[Sample]:
    """A good sample, a corrupt one, one that is corrupt where it is counted, a missing one."""
    bad = sample.text("bad.tsv", "chr1_alt\t5\t9\tA\nchr1_alt\tx\t9\tA\n")
    cut = sample.text("cut.h5ad", "no HDF5")
    return samples(sample.h5ad(), cut, bad, sample.folder / "gone.h5ad")


def test_all_bad_inputs_are_named_at_once(sample, look, four) -> None:
    with pytest.raises(
        CountsError,
        match=r"^2 of 4 inputs cannot be used: \(1\) .*cut.h5ad is truncated .* "
        r"\(2\) .*gone.h5ad does not exist",
    ):
        look(four, peaks=str(sample.bed()))
    with pytest.raises(CountsError, match=r"^\S*bad.tsv line 2 is"):
        look([four[0], four[2]], peaks=str(sample.bed()))


def test_bad_inputs_are_left_out_with_a_notice(sample, look, four) -> None:
    events: list[object] = []
    found = look(four, peaks=str(sample.bed()), skip_bad=True, on_event=events.append)
    assert found.samples == (four[0],)
    np.testing.assert_array_equal(found.sources[0].read_cells(0, 23).toarray(), sample.counts)
    assert [(out.name, out.url) for out in found.left_out] == [
        (s.name, s.url) for s in (four[1], four[3], four[2])
    ]
    told = [event.message for event in events if isinstance(event, Notice)]
    assert told == [f"The sample {out.name} is left out: {out.why}" for out in found.left_out]
    assert isinstance(found.left_out[0], LeftOut)


def test_when_none_can_be_used_it_is_an_error(look, four) -> None:
    with pytest.raises(CountsError, match="2 of 2 inputs cannot be used"):
        look([four[1], four[3]], skip_bad=True)
    with pytest.raises(CountsError, match="no input was given"):
        look([])


def test_a_missing_peak_set_is_no_bad_input(sample, look) -> None:
    with pytest.raises(CountsError, match="is fragments, which need peaks"):
        look(samples(sample.h5ad(), sample.fragments()), skip_bad=True)


def test_damage_that_shows_while_reading_names_the_file(sample, look) -> None:
    paths = [sample.h5ad("csr", dtype) for dtype in ("float32", "int64")]
    found = look(samples(*paths))
    with h5py.File(paths[1], "r+") as file:
        file["X/data"][5] = -4
    found.sources[0].read_cells(0, 23)
    with pytest.raises(CountsError, match=r"^\S*csr-int64.h5ad has -4 at cell"):
        found.sources[1].read_cells(0, 23)
    for source in found.sources:
        source.close()


def test_damage_of_a_copy_names_the_input(sample, look) -> None:
    (source,) = look(samples(sample.tenx_folder())).sources
    copy = sample.folder / "scratch"
    chunk = next(p for p in copy.glob("*/counts.zarr/X/data/*") if p.name.startswith("c"))
    stored = bytearray(chunk.read_bytes())
    stored[-6] ^= 0xFF
    chunk.write_bytes(stored)
    with pytest.raises(CountsError, match=r"^\S*10x-0-False has counts of cells 0-23 that cannot"):
        source.read_cells(0, 23)


def test_a_scratch_folder_at_a_url(sample) -> None:
    given = samples(sample.fragments())
    found = survey(given, scratch="memory://scratch/survey", peaks=str(sample.bed()))
    rows = found.sources[0].obs.index.get_indexer(sample.barcodes)
    np.testing.assert_array_equal(found.sources[0].read_cells(0, 23).toarray()[rows], sample.counts)


def test_copies_are_made_once(sample, look, monkeypatch) -> None:
    given = samples(sample.fragments())
    first = look(given, peaks=str(sample.bed()))
    monkeypatch.setattr(FragmentPieces, "count", None)
    again = look(given, peaks=str(sample.bed()))
    pd.testing.assert_frame_equal(first.sources[0].obs, again.sources[0].obs)


def test_reads_are_worth_their_cost(sample, look) -> None:
    (source,) = look(samples(sample.h5ad())).sources
    assert source.cells_per_read == min(lazy_source.CELLS_PER_READ, 23)

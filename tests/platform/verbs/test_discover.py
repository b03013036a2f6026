from __future__ import annotations

import sys

import numpy as np
import pytest

from atlasbasset.verbs import discover as verb
from atlasbasset.verbs.discover import discover, plan_discover
from atlasstore.errors import MissingExtraError, StoreExistsError, UserInputError
from atlasstore.genome.motifs import Motif, read_meme, write_meme
from small_ism import PWM, planted


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    pytest.importorskip("modiscolite", reason="modisco-lite is not installed")
    return planted(tmp_path_factory.mktemp("ism") / "few.zarr", 5)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_planted_motif_is_found(tmp_path):
    pytest.importorskip("modiscolite", reason="modisco-lite is not installed")
    result, out = planted(tmp_path / "ism.zarr", 300), tmp_path / "found"
    rng = np.random.default_rng(2)
    others = [Motif(f"X{i}", f"X{i}", rng.dirichlet([0.3] * 4, 10)) for i in range(30)]
    known = [*others, Motif("M0", "TF0", PWM)]
    write_meme(tmp_path / "known.meme", known)
    report = discover(result, group="T", out=out, motifs=tmp_path / "known.meme")
    assert set(report.patterns) == {"pos.0"}
    assert report.patterns["pos.0"] > 50
    (pattern,) = read_meme(out / "patterns.meme")
    text, reverse = pattern.consensus, pattern.consensus.translate(str.maketrans("ACGT", "TGCA"))
    assert "AGCTAAAGGC" in text or "AGCTAAAGGC" in reverse[::-1]
    page = (out / "report" / "motifs.html").read_text()
    assert "pos_patterns.pattern_0" in page
    assert "M0" in page
    assert sorted(path.name for path in out.iterdir()) == [
        "patterns.h5",
        "patterns.meme",
        "report",
    ]
    with pytest.raises(StoreExistsError):
        discover(result, group="T", out=out)


def test_too_few_regions(few, tmp_path):
    with pytest.raises(UserInputError, match=r"has 5 regions of 120 bp, with room for 25 seqlets"):
        discover(few, group="T", out=tmp_path / "found")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_nothing_that_matters(tmp_path):
    pytest.importorskip("modiscolite", reason="modisco-lite is not installed")
    result = planted(tmp_path / "ism.zarr", 60)
    with pytest.raises(UserInputError, match="no pattern was found in the 60 regions"):
        discover(result, group="B", out=tmp_path / "found")
    assert [path.name for path in tmp_path.iterdir()] == ["ism.zarr"]


def test_refused(few, tmp_path):
    for change, message in [
        ({"group": "NK"}, "no group 'NK'; its groups: B, T"),
        ({"max_seqlets": 100}, "max_seqlets must be above 100"),
    ]:
        given = {"group": "T", "out": tmp_path / "f", "motifs": None, "max_seqlets": 500} | change
        with pytest.raises(UserInputError, match=message):
            plan_discover(few, **given)


def test_without_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "modiscolite", None)
    monkeypatch.setitem(sys.modules, "modiscolite.tfmodisco", None)
    with pytest.raises(MissingExtraError, match=r"modiscolite.*pip install .*'modisco-lite>="):
        discover(tmp_path / "none", group="T", out=tmp_path / "found")


def test_clustering_says_how_far_it_is():
    told = []
    clustering = verb._Clustering(told.append)
    print("Using 150 positive seqlets", file=clustering)
    print("Extracted 120 negative seqlets", file=clustering)
    clustering.reach(3)
    assert [(event.done, event.total) for event in told] == [(0, 3), (1, 3), (2, 3), (3, 3)]

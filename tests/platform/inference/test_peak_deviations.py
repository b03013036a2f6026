"""Stored deviations of peaks: which peaks they fit, and who uses them."""

from __future__ import annotations

from dataclasses import replace

import anndata
import numpy as np
import pytest

import atlasbasset
from atlasbasset.inference.peak_deviations import PeakDeviations
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import StoreExistsError
from atlasstore.events import Notice
from atlasstore.genome.peaks import peaks_digest
from small_atlas import make_atlas, make_peaks, random_labels
from small_model import TINY, random_weights, write_model

N, P, L, E = 9, 40, TINY.window_bp, TINY.embedding_dim


@pytest.fixture(scope="module")
def codes():
    return np.random.default_rng(1).integers(0, 5, (P, L + 6), dtype=np.uint8)


@pytest.fixture(scope="module")
def atlas(tmp_path_factory, codes):
    labels = random_labels(np.random.default_rng(2), N, P)
    return Atlas.open(make_atlas(tmp_path_factory.mktemp("stores") / "atlas", labels, codes))


@pytest.fixture(scope="module")
def model(tmp_path_factory, atlas):
    weights = random_weights(np.random.default_rng(3), N)
    url = write_model(tmp_path_factory.mktemp("stores") / "model", weights)
    drawn = np.random.default_rng(4).normal(size=(P, E)).astype(np.float32)
    found = PeakDeviations(drawn, peaks_digest(atlas.var))
    return replace(atlasbasset.load_model(url, device="cpu"), deviations=found)


def denoised(model, atlas, out, **options):
    report = atlasbasset.denoise(model, atlas, out=out, **options)
    return report, anndata.read_zarr(out)


def test_denoise_adds_them_to_the_peaks_they_are_of(model, atlas, codes, tmp_path):
    chosen = [3, 17, 18, 30]
    names = list(atlas.var.index[chosen])
    report, found = denoised(model, atlas, tmp_path / "r", peaks=names)
    x = model.embed(codes[chosen, 3:-3]) + model.deviations.deviation[chosen]
    np.testing.assert_allclose(found.X, model.cell_embedding @ x.T, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.varm["scbasset_sequence"], x, rtol=1e-5, atol=1e-6)
    assert report.peak_deviations
    assert found.uns["scbasset"]["peak_deviations"]


def test_sequences_alone_where_asked_for(model, atlas, codes, tmp_path):
    report, found = denoised(model, atlas, tmp_path / "r", sequence_only=True)
    np.testing.assert_allclose(found.X, model.predict(codes[:, 3:-3]).T, rtol=1e-4, atol=1e-5)
    assert not report.peak_deviations
    assert "peak_deviations" not in found.uns["scbasset"]


def test_the_two_are_not_one_job(model, atlas, tmp_path):
    denoised(model, atlas, tmp_path / "r")
    with pytest.raises(StoreExistsError):
        denoised(model, atlas, tmp_path / "r", sequence_only=True)


def test_other_peaks_are_predicted_from_sequence_and_told_of(model, codes, tmp_path):
    labels = random_labels(np.random.default_rng(2), N, P - 1)
    other = Atlas.open(make_atlas(tmp_path / "other", labels, codes[1:]))
    events: list[object] = []
    report, found = denoised(model, other, tmp_path / "r", on_event=events.append)
    np.testing.assert_allclose(found.X, model.predict(codes[1:, 3:-3]).T, rtol=1e-4, atol=1e-5)
    assert not report.peak_deviations
    told = [event.message for event in events if isinstance(event, Notice)]
    assert any("are of other peaks than those of" in message for message in told)
    assert "are of other peaks" in str(atlasbasset.plan_denoise(model, other, out=tmp_path / "s"))


def test_the_order_of_peaks_counts():
    peaks = make_peaks(6)
    found = PeakDeviations(np.zeros((6, E), np.float32), peaks_digest(peaks))
    assert found.fit(peaks)
    assert found.fit(peaks.assign(split="train"))
    assert not found.fit(peaks.iloc[::-1])
    assert not found.fit(peaks.assign(end=peaks["end"] + 1))

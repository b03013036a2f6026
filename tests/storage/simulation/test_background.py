from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlasstore.simulation.background import (
    DINUCLEOTIDES,
    GC_TILTS,
    REGION_BP,
    background,
    transitions,
    write_fasta_record,
)


def dinucleotide_shares(codes):
    pairs = np.bincount(codes[:-1].astype(int) * 4 + codes[1:], minlength=16).reshape(4, 4)
    return pairs / pairs.sum()


def test_the_stated_frequencies_are_the_same_on_both_strands():
    np.testing.assert_array_equal(DINUCLEOTIDES, DINUCLEOTIDES[::-1, ::-1].T)
    assert DINUCLEOTIDES.sum() == pytest.approx(1)
    assert DINUCLEOTIDES[1:3].sum() == pytest.approx(0.41, abs=0.002)


def test_background_is_genome_like():
    codes = background(4_000_000, np.random.default_rng(1))
    shares = dinucleotide_shares(codes)
    base = shares.sum(axis=1)
    assert base[1] + base[2] == pytest.approx(0.41, abs=0.01)
    assert shares[1, 2] / (base[1] * base[2]) == pytest.approx(0.25, abs=0.04)
    np.testing.assert_allclose(shares, DINUCLEOTIDES, atol=0.006)


def test_regions_differ_in_gc_and_each_follows_one_chain():
    codes = background(200 * REGION_BP, np.random.default_rng(2)).reshape(-1, REGION_BP)
    gc = np.isin(codes, [1, 2]).mean(axis=1)
    assert 0.31 < gc.min() < 0.35
    assert 0.47 < gc.max() < 0.51
    richest = codes[gc > 0.47]
    pairs = sum(dinucleotide_shares(region) for region in richest)
    rows = pairs / pairs.sum(axis=1, keepdims=True)
    se = np.sqrt(0.25 / (richest.size / 4))
    np.testing.assert_allclose(rows, transitions(GC_TILTS[-1]), atol=5 * se)


@pytest.mark.parametrize("length", [1, 59, 60, 61, REGION_BP - 1, REGION_BP, REGION_BP + 1])
def test_any_length_and_the_same_by_the_same_seed(length):
    codes = background(length, np.random.default_rng(3))
    assert codes.shape == (length,)
    assert codes.max() <= 3
    np.testing.assert_array_equal(codes, background(length, np.random.default_rng(3)))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=400))
def test_fasta_lines(values):
    file = io.BytesIO()
    write_fasta_record(file, "chr7", np.array(values, dtype=np.uint8))
    name, *lines = file.getvalue().decode().split("\n")
    assert name == ">chr7"
    assert lines[-1] == ""
    assert "".join(lines) == "".join("ACGT"[v] for v in values)
    assert all(len(line) == 60 for line in lines[:-2])
    assert 1 <= len(lines[-2]) <= 60


def test_long_fasta_is_written_in_pieces_without_a_seam():
    codes = background(1000, np.random.default_rng(4))
    whole, pieces = io.BytesIO(), io.BytesIO()
    write_fasta_record(whole, "chr1", codes)
    write_fasta_record(pieces, "chr1", codes, lines_at_once=3)
    assert whole.getvalue() == pieces.getvalue()

from __future__ import annotations

import numpy as np
import pytest

from atlasstore.genome import variant_batches
from atlasstore.genome.fasta import Genome
from atlasstore.genome.variant_batches import (
    count_variants,
    read_piece,
    variants_table,
    write_pieces,
)
from atlasstore.genome.variants import STATUSES, Variant
from small_atlas import write_fasta

LONG = "ACGT" * 10
VARIANTS = [
    Variant("chrI", 1, "rs1", "A", "G"),
    Variant("chrI", 1, ".", "A", "G"),
    Variant("chrQ", 7, ".", "A", "<DEL>"),
    Variant("chrQ", 7, ".", "A", "T"),
    Variant("chrI", 2, ".", "A", LONG),
    Variant("chrI", 1, ".", "A", "G"),
    Variant("chrI", 1, ".", "A", "T"),
]
OF_EACH = ["ok", "ok", "symbolic", "unknown_chromosome", "reference_mismatch", "ok", "ok"]


@pytest.fixture
def genome(tmp_path):
    with Genome.open(write_fasta(tmp_path / "g.fa", {"chrI": "ACGT" * 20})) as opened:
        yield opened


@pytest.fixture(params=[1, 3, 100])
def piece(request, monkeypatch):
    monkeypatch.setattr(variant_batches, "PIECE", request.param)
    return request.param


def test_pieces_hold_all_variants_in_order(genome, piece, tmp_path):
    url = str(tmp_path / "pieces")
    found = write_pieces(url, iter(VARIANTS), genome, max_allele_bp=50)
    counts = {"ok": 4, "symbolic": 1, "unknown_chromosome": 1, "reference_mismatch": 1}
    assert found == {"n": 7, "counts": counts, "unknown": ["chrQ"]}
    assert count_variants(VARIANTS, genome, max_allele_bp=50) == found
    n_pieces = -(-len(VARIANTS) // piece)
    assert len(list((tmp_path / "pieces").iterdir())) == n_pieces
    read = [row for number in range(n_pieces) for row in read_piece(url, number)]
    assert read == list(zip(VARIANTS, OF_EACH, strict=True))


def test_the_table_of_all_variants(genome, piece, tmp_path):
    url = str(tmp_path / "pieces")
    write_pieces(url, VARIANTS, genome, max_allele_bp=50)
    table = variants_table(url, len(VARIANTS))
    assert list(table.columns) == ["chrom", "pos", "id", "ref", "alt", "status"]
    assert table["pos"].dtype == np.int64
    assert list(table["status"].cat.categories) == list(STATUSES)
    assert list(table["status"]) == OF_EACH
    assert list(zip(*(table[name] for name in Variant._fields), strict=True)) == VARIANTS
    assert list(table.index) == [
        "chrI:1:A>G",
        "chrI:1:A>G-1",
        "chrQ:7:A><DEL>",
        "chrQ:7:A>T",
        "chrI:2:A>40bp",
        "chrI:1:A>G-2",
        "chrI:1:A>T",
    ]


def test_no_variants(genome, tmp_path):
    found = write_pieces(str(tmp_path / "pieces"), [], genome, max_allele_bp=50)
    assert found == {"n": 0, "counts": {}, "unknown": []}

"""Effects of alleles against windows built as text and embedded by `Model.embed`."""

from __future__ import annotations

import numpy as np
import pytest

import atlasbasset
from atlasbasset.verbs.variants import alleles as alleles_module
from atlasbasset.verbs.variants.alleles import VariantEngine, allele_of
from atlasstore.genome.fasta import Genome
from atlasstore.genome.variants import Variant
from small_atlas import write_fasta
from small_model import TINY, random_weights, write_model

L = TINY.window_bp
LENGTHS = {"chrI": 1500, "chrII": 150}  # the second one is shorter than a window


@pytest.fixture(scope="module")
def chromosomes():
    rng = np.random.default_rng(3)
    bases = np.frombuffer(b"ACGTacgt", np.uint8)
    return {name: rng.choice(bases, n).tobytes().decode() for name, n in LENGTHS.items()}


@pytest.fixture(scope="module")
def genome(chromosomes, tmp_path_factory):
    path = tmp_path_factory.mktemp("genome") / "g.fa"
    with Genome.open(write_fasta(path, chromosomes)) as opened:
        yield opened


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    url = write_model(
        tmp_path_factory.mktemp("m") / "m", random_weights(np.random.default_rng(1), 3)
    )
    return atlasbasset.load_model(url, device="cpu")


def other(base: str) -> str:
    return "ACGT"["CGTA".index(base.upper())]


def made(chromosomes, chrom, pos, n_ref, put) -> Variant:
    """A variant that takes `n_ref` bases from `pos` (1-based) off and puts others there."""
    ref = chromosomes[chrom][pos - 1 : pos - 1 + n_ref]
    return Variant(chrom, pos, ".", ref, put(ref))


def some_variants(chromosomes) -> list[tuple[Variant, int]]:
    """Variants, and the middle of what changes (0-based; None where alleles decide it)."""
    cases = []
    for chrom, n in LENGTHS.items():
        for pos in (1, 2, n // 2, n - 1, n):
            cases.append((made(chromosomes, chrom, pos, 1, other), pos - 1))
        cases.append((made(chromosomes, chrom, 60, 3, lambda r: "".join(map(other, r))), 60))
        # an anchor base, then what goes or comes
        cases.append((made(chromosomes, chrom, 70, 1, lambda r: r + other(r) * 4), 70))
        cases.append((made(chromosomes, chrom, 1, 1, lambda r: other(r) * 3 + r), 0))
        cases.append((made(chromosomes, chrom, n, 1, lambda r: r + other(r) * 2), n))
        cases.append((made(chromosomes, chrom, 80, 7, lambda r: other(r[0])), None))
        cases.append((made(chromosomes, chrom, n - 4, 5, lambda r: r[0]), None))
    return cases


def window(text: str, start: int) -> str:
    """Bases [start, start + L) of text, N where there are none."""
    return ("N" * L + text + "N" * L)[start + L : start + 2 * L]


def windows_as_text(chromosomes, variant: Variant) -> tuple[str, str]:
    """Reference and alternate window, both beginning at the start of the one on the change."""
    from atlasstore.genome.variants import change_of

    whole, first = chromosomes[variant.chrom], variant.pos - 1
    changed = whole[:first] + variant.alt + whole[first + len(variant.ref) :]
    change = change_of(variant)
    start = (change.start + change.stop) // 2 - L // 2
    return window(whole, start), window(changed, start)


COMPLEMENT = str.maketrans("ACGTNacgt", "TGCANTGCA")


def expected(model, chromosomes, variant, *, reverse=False):
    pair = windows_as_text(chromosomes, variant)
    if reverse:
        pair = [text.translate(COMPLEMENT)[::-1] for text in pair]
    h = model.embed(list(pair))
    return h[1] - h[0]


def test_windows_are_centred_on_what_changes(chromosomes, genome):
    for variant, middle in some_variants(chromosomes):
        allele = allele_of(variant, genome, window_bp=L)
        if middle is not None:
            assert allele.window_start == middle - L // 2, variant
        is_shift = len(variant.ref) != len(variant.alt)
        assert (allele.at + len(allele.codes) == L) == is_shift
        reference, changed = windows_as_text(chromosomes, variant)
        codes = genome.codes(variant.chrom, allele.window_start, allele.window_start + L)
        assert codes.tolist() == ["ACGTN".index(base) for base in reference.upper()]
        codes[allele.at : allele.at + len(allele.codes)] = allele.codes
        assert codes.tolist() == ["ACGTN".index(base) for base in changed.upper()]


@pytest.mark.parametrize("both_strands", [False, True])
@pytest.mark.parametrize("at_once", [1, 5, 64])
def test_effects_are_those_of_whole_windows(model, chromosomes, genome, at_once, both_strands):
    variants = [variant for variant, _ in some_variants(chromosomes)]
    alleles = [allele_of(variant, genome, window_bp=L) for variant in variants]
    engine = VariantEngine(model, both_strands=both_strands, at_once=at_once)
    found = engine.effects(alleles, genome)
    wanted = np.stack([expected(model, chromosomes, v) for v in variants])
    if both_strands:
        turned = np.stack([expected(model, chromosomes, v, reverse=True) for v in variants])
        wanted = (wanted + turned) / 2
    assert found.dtype == np.float32
    assert np.abs(wanted).max() > 1e-3
    # float32 sums in another order, on embeddings of the order of 1
    np.testing.assert_allclose(found, wanted, atol=2e-6)


def test_both_ways_agree_on_every_kind_of_change(model, chromosomes, genome):
    engine = VariantEngine(model)
    alleles = [allele_of(v, genome, window_bp=L) for v, _ in some_variants(chromosomes)]
    for _, codes, replaced in alleles_module._batches(alleles, genome, L):
        np.testing.assert_allclose(
            engine.incremental(codes, replaced), engine.full_passes(codes, replaced), atol=2e-6
        )


def test_alleles_of_one_window_share_it(model, genome, chromosomes, monkeypatch):
    ref = chromosomes["chrI"][699].upper()
    variants = [Variant("chrI", 700, ".", ref, alt) for alt in "ACGT" if alt != ref]
    alleles = [allele_of(v, genome, window_bp=L) for v in variants]
    sizes = []
    engine = VariantEngine(model)
    reference = engine._incremental.reference
    monkeypatch.setattr(
        engine._incremental, "reference", lambda codes: sizes.append(len(codes)) or reference(codes)
    )
    found = engine.effects(alleles, genome)
    assert sizes == [1]
    wanted = np.stack([expected(model, chromosomes, v) for v in variants])
    np.testing.assert_allclose(found, wanted, atol=2e-6)


def test_nothing_to_do(model, genome):
    assert VariantEngine(model).effects([], genome).shape == (0, TINY.embedding_dim)

from __future__ import annotations

import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from atlasstore.errors import MotifError
from atlasstore.genome.motifs import (
    SUM_TOLERANCE,
    Motif,
    information_content,
    read_meme,
    read_motifs,
    reverse_complement,
    sample,
    shuffled_copies,
    write_meme,
)

ROWS = "0.1 0.2 0.3 0.4\n0.7 0.1 0.1 0.1\n"


def meme(text, header="MEME version 4\n\nALPHABET= ACGT\n\nstrands: + -\n\n"):
    return header + text


def write(tmp_path, text):
    path = tmp_path / "motifs.meme"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("line", "name", "tf"),
    [
        ("M0085_1.02 (TFAP2E)_(Mus_musculus)_(DBD_0.99)", "M0085_1.02", "TFAP2E"),
        ("M1030_1.02 (NKX2-3)_(PBM_CONSTRUCTS)_(DBD_1.00)", "M1030_1.02", "NKX2-3"),
        ("M6161_1.02 BHLHE41", "M6161_1.02", "BHLHE41"),
        ("MA0006.1_MA0006.1.Ahr::Arnt", "MA0006.1_MA0006.1.Ahr::Arnt", "Ahr::Arnt"),
        ("MA0260.1 MA0260.1.che-1", "MA0260.1", "che-1"),
        ("MA0004.1 Arnt", "MA0004.1", "Arnt"),
        ("MA0004.1\tArnt\t", "MA0004.1", "Arnt"),
        ("UN0142.1 UN0142.1.NAC5", "UN0142.1", "NAC5"),
        ("PB0001.1 PB0001.1_Arid3a_1", "PB0001.1", "Arid3a_1"),
        ("MA0002.2-RUNX1", "MA0002.2-RUNX1", "RUNX1"),
        ("MA0002.2", "MA0002.2", "MA0002.2"),
        ("AHR_HUMAN.H11MO.0.B", "AHR_HUMAN.H11MO.0.B", "AHR"),
        ("NKX2-5.H12CORE.1.P.B", "NKX2-5.H12CORE.1.P.B", "NKX2-5"),
        ("plain", "plain", "plain"),
    ],
)
def test_names(tmp_path, line, name, tf):
    path = write(
        tmp_path, meme(f"MOTIF {line}\nletter-probability matrix: alength= 4 w= 2\n{ROWS}")
    )
    (motif,) = read_meme(path)
    assert (motif.name, motif.tf) == (name, tf)


@pytest.mark.parametrize(
    "matrix",
    [
        "letter-probability matrix: alength= 4 w= 2 nsites= 20 E= 0\n" + ROWS,
        "letter-probability matrix: alength= 4 w= 2\n\n" + ROWS.replace(" ", "\t"),
        "letter-probability matrix:\n  " + ROWS,
        "letter-probability matrix: alength=4 w=2\n" + ROWS + "URL http://example.org/x\n\n",
        "Letter-Probability Matrix: alength= 4\n" + ROWS + "\n\n",
    ],
)
def test_dialects(tmp_path, matrix):
    path = write(tmp_path, meme(f"MOTIF one\n\n{matrix}MOTIF two\n{matrix}"))
    motifs = read_meme(path)
    assert [m.name for m in motifs] == ["one", "two"]
    for motif in motifs:
        np.testing.assert_array_equal(
            motif.probabilities, [[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1]]
        )


def test_lower_case_windows_ends_and_gzip(tmp_path):
    text = "alphabet= acgt\r\nmotif m tf\r\nletter-probability matrix: w= 1\r\n1 0 0 0\r\n"
    path = tmp_path / "m.meme.gz"
    path.write_bytes(gzip.compress(text.encode()))
    (motif,) = read_meme(path)
    assert (motif.tf, motif.consensus) == ("tf", "A")


def test_rounded_rows_are_renormalised(tmp_path):
    text = "MOTIF m\nletter-probability matrix:\n0.33 0.33 0.33 0\n0.26 0.25 0.25 0.25\n"
    (motif,) = read_meme(write(tmp_path, meme(text)))
    np.testing.assert_allclose(motif.probabilities.sum(axis=1), 1, atol=1e-15)
    assert motif.probabilities[0, 0] == pytest.approx(1 / 3, rel=1e-15)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("MOTIF m\nletter-probability matrix: alength= 4 w= 0\n", ["line 8", "motif m", "0 rows"]),
        ("MOTIF m\nURL http://x\n", ["line 7", "motif m", "no letter-probability matrix"]),
        ("MOTIF m\nMOTIF n\nletter-probability matrix:\n" + ROWS, ["line 7", "motif m"]),
        (
            "MOTIF m\nletter-probability matrix: w= 3\n" + ROWS,
            ["line 8", "motif m", "w= 3", "2 rows"],
        ),
        (
            "MOTIF m\nletter-probability matrix:\n0.5 0.5 0 0\n0.5 0.5 0.5 0\n",
            ["line 10", "motif m", "0.5 0.5 0.5 0", str(SUM_TOLERANCE)],
        ),
        ("MOTIF m\nletter-probability matrix:\n1.5 -0.5 0 0\n", ["line 9", "motif m"]),
        ("MOTIF m\nletter-probability matrix:\nnan 1 0 0\n", ["line 9", "motif m"]),
        ("MOTIF m\nletter-probability matrix:\n12 3 0 1\n", ["line 9", "not counts"]),
        ("MOTIF m\nletter-probability matrix:\n0.5 0.5 0\n", ["line 9", "motif m", "3 numbers"]),
        ("MOTIF m\nletter-probability matrix: alength= 20 w= 1\n", ["line 8", "alength= 20"]),
        ("MOTIF\nletter-probability matrix:\n" + ROWS, ["line 7", "no name"]),
        ("no motif here\n", ["no motif"]),
    ],
)
def test_wrong_files_name_motif_and_line(tmp_path, text, says):
    with pytest.raises(MotifError) as caught:
        read_meme(write(tmp_path, meme(text)))
    for words in says:
        assert words in str(caught.value)


DNA = """ALPHABET "DNA" DNA-LIKE
A "Adenine" CC0000 ~ T "Thymine = U" 008000
C "Cytosine" 0000CC ~ G "Guanine" FFB300
N "Any base" = ACGT
. = ACGT

END ALPHABET
"""


@pytest.mark.parametrize(
    "alphabet",
    [
        DNA,
        DNA.replace("END ALPHABET\n", ""),
        DNA.replace('"DNA" DNA-LIKE', '"mine"'),
        'ALPHABET "DNA" DNA-LIKE\n',
        "ALPHABET DNA-LIKE\n",
        "ALPHABET\t=\tACGT\n",
        "ALPHABET=\tacgt\n",
    ],
)
def test_alphabets_of_dna(tmp_path, alphabet):
    text = f"MOTIF m tf\nletter-probability matrix: alength= 4\n{ROWS}"
    (motif,) = read_meme(write(tmp_path, meme(text, header=f"MEME version 4\n\n{alphabet}")))
    assert (motif.name, motif.width) == ("m", 2)


@pytest.mark.parametrize(
    "alphabet",
    [
        "ALPHABET= ACGU",
        'ALPHABET "RNA" RNA-LIKE',
        DNA.replace("~ T", "~ U"),
        DNA.replace("N ", 'm "5mC" A0A0FF ~ 1 "G:5mC" 800080\nN '),
    ],
)
def test_other_alphabets_are_refused(tmp_path, alphabet):
    with pytest.raises(MotifError, match="line 1: the alphabet is"):
        read_meme(write(tmp_path, meme("", header=alphabet + "\n")))


def test_unreadable_files(tmp_path):
    with pytest.raises(MotifError, match="does not exist"):
        read_meme(tmp_path / "absent.meme")
    binary = tmp_path / "binary.meme"
    binary.write_bytes(b"\xff\xfe\x00MOTIF")
    with pytest.raises(MotifError, match="is text in UTF-16; save it as UTF-8"):
        read_meme(binary)
    whole = gzip.compress(meme("MOTIF m\n" * 50).encode())
    flipped = bytearray(whole)
    flipped[30] ^= 0xFF
    for content in (whole[:40], bytes(flipped)):
        damaged = tmp_path / "damaged.meme.gz"
        damaged.write_bytes(content)
        with pytest.raises(MotifError, match="is truncated or damaged"):
            read_meme(damaged)
    with gzip.open(tmp_path / "bomb.meme.gz", "wb", 9) as bomb:
        for _ in range(160):
            bomb.write(bytes(1 << 20))
    with pytest.raises(MotifError, match=r"grows more than|has a line of more than"):
        read_meme(tmp_path / "bomb.meme.gz")


def test_a_mark_and_bytes_of_latin_1_are_read(tmp_path):
    path = tmp_path / "m.meme"
    text = meme(f"MOTIF m tf\nURL http://x/\xe9\nletter-probability matrix:\n{ROWS}")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode("latin-1"))
    assert [motif.name for motif in read_meme(path)] == ["m"]


def test_motifs_of_one_name_get_names_of_their_own(tmp_path):
    block = f"letter-probability matrix:\n{ROWS}"
    names = ["m", "n", "m", "m-1", "m"]
    path = write(tmp_path, meme("".join(f"MOTIF {name} tf\n{block}" for name in names)))
    assert [motif.name for motif in read_meme(path)] == names
    for source in (path, str(path), read_meme(path)):
        motifs, told = read_motifs(source)
        assert [motif.name for motif in motifs] == ["m", "n", "m-2", "m-1", "m-3"]
        assert {motif.tf for motif in motifs} == {"tf"}
        assert "m as m-2, m as m-3" in told
    assert read_motifs(motifs) == (motifs, None)


def test_a_motif_is_checked_and_read_only():
    with pytest.raises(MotifError, match="white space"):
        Motif("two words", "tf", np.full((3, 4), 0.25))
    with pytest.raises(MotifError, match=r"shape \(0, 4\)"):
        Motif("m", "tf", np.zeros((0, 4)))
    motif = Motif("m", "tf", np.full((3, 4), 0.25))
    with pytest.raises(ValueError, match="read-only"):
        motif.probabilities[0, 0] = 1


def test_information_content_of_known_motifs():
    assert information_content(Motif("flat", "flat", np.full((5, 4), 0.25))) == pytest.approx(0)
    assert information_content(Motif("word", "word", np.eye(4))) == 8
    halves = Motif("half", "half", np.tile([0.5, 0.5, 0, 0], (3, 1)))
    assert information_content(halves) == pytest.approx(3)


def test_reverse_complement():
    motif = Motif("m", "tf", np.array([[1, 0, 0, 0], [0, 0.5, 0.3, 0.2]]))
    flipped = reverse_complement(motif)
    np.testing.assert_array_equal(flipped.probabilities, [[0.2, 0.3, 0.5, 0], [0, 0, 0, 1]])
    np.testing.assert_array_equal(reverse_complement(flipped).probabilities, motif.probabilities)


def test_samples_follow_the_distribution(rng):
    p = np.array([[0.1, 0.2, 0.3, 0.4], [0, 0, 0, 1], [0, 1, 0, 0], [0.9, 0, 0.1, 0]])
    codes = sample(Motif("m", "tf", p), 20_000, rng)
    assert codes.dtype == np.uint8
    shares = np.stack([(codes == base).mean(axis=0) for base in range(4)], axis=1)
    np.testing.assert_allclose(shares, p, atol=5 * np.sqrt(0.25 / 20_000))
    np.testing.assert_array_equal(shares[p == 0], 0)


def test_sample_of_none(rng):
    assert sample(Motif("m", "tf", np.eye(4)), 0, rng).shape == (0, 4)


words = st.text("abzXYZ019:-", min_size=1, max_size=8)
weights = arrays(
    np.float64, st.tuples(st.integers(1, 12), st.just(4)), elements=st.floats(0.0, 1.0)
)


@st.composite
def motif_lists(draw):
    names = draw(st.lists(words, min_size=1, max_size=4, unique=True))
    matrices = [draw(weights) + draw(st.sampled_from([1e-12, 1e-3, 1.0])) for _ in names]
    return [
        Motif(name, draw(words), matrix / matrix.sum(axis=1, keepdims=True))
        for name, matrix in zip(names, matrices, strict=True)
    ]


@settings(max_examples=60, deadline=None)
@given(motif_lists())
def test_write_and_read_give_the_same_to_the_bit(tmp_path_factory, motifs):
    path = tmp_path_factory.mktemp("meme") / "m.meme"
    write_meme(path, motifs)
    again = read_meme(path)
    assert [(m.name, m.tf) for m in again] == [(m.name, m.tf) for m in motifs]
    for old, new in zip(motifs, again, strict=True):
        np.testing.assert_array_equal(new.probabilities, old.probabilities)


def test_shuffled_copies_have_the_same_positions_in_another_order():
    rng = np.random.default_rng(0)
    motif = Motif("M1", "TF1", rng.dirichlet(np.ones(4), 9))
    copies = shuffled_copies([motif], 3, rng)
    assert [copy.name for copy in copies] == ["M1~1", "M1~2", "M1~3"]
    assert {copy.tf for copy in copies} == {"TF1"}
    for copy in copies:
        assert not np.array_equal(copy.probabilities, motif.probabilities)
        assert sorted(map(tuple, copy.probabilities)) == sorted(map(tuple, motif.probabilities))

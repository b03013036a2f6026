"""What the command line says of variants: the plan beforehand, the facts afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest

from atlasbasset import plan_variants
from atlasbasset.verbs.variants.alleles import variant_bytes
from atlasbasset.verbs.variants.report import VariantsReport
from atlasjobs.reports.variants import variants_facts
from atlasstore.errors import GenomeError, StoreExistsError, UserInputError
from small_atlas import write_fasta
from small_model import TINY, random_weights, write_model

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\n"


@pytest.fixture
def files(tmp_path: Path, rng) -> dict[str, str]:
    fasta = write_fasta(tmp_path / "g.fa", {"chrI": "ACGT" * 200})
    vcf = tmp_path / "v.vcf"
    vcf.write_text(HEADER + "chrI\t5\t.\tA\tC,G,<DEL>\nchrI\t6\t.\tA\tC\nII\t6\t.\tA\tC\n")
    model = write_model(tmp_path / "m", random_weights(rng, 6))
    return {"model": model, "vcf": str(vcf), "genome": str(fasta), "out": str(tmp_path / "r")}


def test_a_plan_counts_and_writes_nothing(files: dict[str, str], tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    plan = plan_variants(**files)
    assert plan.as_json() == {
        "dry_run": True,
        "out": files["out"],
        "n_variants": 5,
        "counts": {"ok": 2, "symbolic": 1, "unknown_chromosome": 1, "reference_mismatch": 1},
        "n_groups": 6,
        "table_bytes": 5 * (6 + 5) * 4,
        "memory_bytes": 2 * (5 + 1) * 6 * 4 + variant_bytes(TINY),
        "workers": 0,
    }
    rows = dict(plan.lines())
    assert rows["variants"] == "5, 2 with an effect"
    assert rows["reference mismatch"] == "1"
    assert rows["columns"] == "6 cells"
    assert rows["windows"] == "4 of 384 bp at most"
    assert rows["tables"] == "220 bytes in 2 shards"
    assert rows["memory"].endswith("per worker plus the program")
    assert rows["table of variants"] == "about 3.50 kB of memory, in this process"
    assert sorted(tmp_path.rglob("*")) == before


def test_the_plan_follows_the_options(files: dict[str, str]) -> None:
    chosen = {"group_by": "n_peaks", "both_strands": True, "dense": False, "workers": 3}
    rows = dict(plan_variants(**files, **chosen).lines())
    assert rows["columns"] == "6 groups"
    assert rows["windows"] == "8 of 384 bp at most"
    assert rows["tables"] == "100 bytes in 1 shards"
    assert rows["workers"] == "3 Ray actors"


def test_the_plan_tells_of_cells_in_no_group(files: dict[str, str]) -> None:
    table = pd.DataFrame({"leiden": ["1", "2"]}, index=["cell0", "cell1"])
    chosen = {"group_by": "leiden", "obs": table, "scale": "sigmoid"}
    rows = dict(plan_variants(**files, **chosen).lines())
    assert rows["columns"] == "2 groups"
    assert rows["left out"] == "4 of 6 cells have no label in 'leiden' and are left out."
    assert rows["scale"] == "sigmoid"
    assert rows["scratch"] == f"about {5 * (64 + 2 * 5 * 4)} bytes"


def test_a_plan_refuses_what_the_verb_refuses(files: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "names.vcf").write_text(HEADER + "I\t5\t.\tA\tC\n")
    cases: list[tuple[dict[str, object], type[Exception], str]] = [
        ({"vcf": str(tmp_path / "names.vcf")}, GenomeError, "none of the chromosomes"),
        ({"vcf": str(tmp_path / "no.vcf")}, UserInputError, "does not exist"),
        ({"genome": str(tmp_path / "no.fa")}, GenomeError, "no.fa does not exist"),
        ({"group_by": "kind"}, UserInputError, "no column 'kind'"),
        ({"obs": pd.DataFrame()}, UserInputError, "name the column to group by"),
        ({"scale": "log"}, UserInputError, "scale must be one of linear"),
        ({"scale": "sigmoid", "dense": False}, UserInputError, "nothing on the scale sigmoid"),
        ({"max_allele_bp": 1000}, UserInputError, "a quarter of the model's window"),
        ({"out": files["vcf"]}, StoreExistsError, "exists already"),
        ({"out": "memory://r", "workers": 1}, UserInputError, "memory of this process"),
    ]
    for changed, error, message in cases:
        with pytest.raises(error, match=message):
            plan_variants(**{**files, **changed}).lines()


def test_facts() -> None:
    report = VariantsReport("r", {"ok": 1200, "too_long": 3}, "tissue", 4, 176_000, False)
    assert variants_facts(report) == [
        ("variants", "1,203, 1,200 with an effect"),
        ("too long", "3"),
        ("columns", "4 groups by tissue"),
        ("tables", "176 kB"),
    ]

"""Genomes with their indices, peaks, genes, motifs, variants, and the truth of a simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from atlasstore.genome.fasta import Genome
from atlasstore.genome.genes import read_genes
from atlasstore.genome.motifs import Motif, read_motifs, write_meme
from atlasstore.genome.peaks import read_bed
from atlasstore.genome.variants import read_vcf
from atlasstore.simulation import Truth, simulate
from fuzz.json_changes import JSON
from fuzz.target import Target
from fuzz.targets.digests import of_arrays, of_table
from fuzz.text_changes import COMPRESSED, TEXT, bgzipped
from small_atlas import fasta_text, random_chromosomes

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["GENOMES"]

_VCF = """##fileformat=VCFv4.2
##contig=<ID=chr1,length=3000>
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ts1
chr1\t100\trs1\tA\tG\t.\tPASS\tAF=0.5\tGT\t0/1
chr1\t200\t.\tAC\tA\t50\t.\t.\tGT\t1|1
chr2\t300\trs3\tT\tTGG,C\t.\tPASS\tDB\tGT\t0/2
chr2\t301\trs4\tG\t<DEL>\t.\tPASS\tSVTYPE=DEL;END=400\tGT\t./.
chr2\t302\trs5\tN\t*\t.\tq10\t.\tGT\t0
"""
_GTF = """#!genome-build GRCh38
chr1\ttest\tgene\t100\t900\t.\t+\t.\tgene_id "G1"; gene_name "one"; gene_type "protein_coding";
chr1\ttest\ttranscript\t100\t900\t.\t+\t.\tgene_id "G1"; transcript_id "T1";
chr2\ttest\tgene\t500\t1500\t.\t-\t.\tgene_id "G2"; gene_name "two; too"; tag "basic";
chr2\ttest\tgene\t500\t1500\t.\t.\t.\tID=gene:G3;Name=three
"""
_BED = """track name=peaks
chr1\t100\t400\tp1\t10\t+\t5.5\t3.2\t2.1\t150
chr1\t600\t900\tp2\t20\t-\t1.5\t1.2\t0.1\t10
chr2\t100\t400\tp3\t0\t.\t0\t0\t0\t-1
"""


def chromosomes() -> dict[str, str]:
    return random_chromosomes(np.random.default_rng(2), {"chr1": 3000, "chr2": 1777, "chrM": 60})


def write_genome(folder: Path) -> None:
    (folder / "genome.fa").write_text(fasta_text(chromosomes(), width=50))
    rows, at = [], 0
    for name, sequence in chromosomes().items():
        at += len(f">{name} a description\n")
        rows.append(f"{name}\t{len(sequence)}\t{at}\t50\t51\n")
        at += len(sequence) + -(-len(sequence) // 50)
    (folder / "genome.fa.fai").write_text("".join(rows))


def write_bgzip_genome(folder: Path) -> None:
    long = random_chromosomes(np.random.default_rng(2), {"chr1": 150_000, "chr2": 2000})
    (folder / "genome.fa.gz").write_bytes(bgzipped(fasta_text(long).encode()))


def genome_values(path: Path) -> str:
    """All bases, also across the ends."""
    with Genome.open(path) as genome:
        lengths = dict(genome.chrom_lengths)
        known = {name: n for name, n in lengths.items() if n < 1_000_000}
        whole = [genome.codes(name, -5, n + 5) for name, n in known.items()]
        ends = [genome.codes(name, n - 7, n + 3) for name, n in lengths.items()]
        return f"{lengths} {of_arrays(*whole, *ends)}"


def write_motifs(folder: Path) -> None:
    rng = np.random.default_rng(4)
    made = [Motif(f"M{i}", f"TF{i}", rng.dirichlet(np.ones(4), 6 + i)) for i in range(3)]
    write_meme(folder / "motifs.meme", made)


def read_motif_file(folder: Path) -> str:
    motifs, told = read_motifs(folder / "motifs.meme")
    return f"{told} " + " ".join(f"{m.name} {m.tf} {of_arrays(m.probabilities)}" for m in motifs)


def write_texts(folder: Path) -> None:
    (folder / "variants.vcf").write_text(_VCF)
    (folder / "genes.gtf").write_text(_GTF)
    (folder / "peaks.bed").write_text(_BED)


def write_simulation(folder: Path) -> None:
    simulate(folder / "sim", n_cells=8, n_peaks=12, n_cell_types=2, n_batches=2, seed=1)


def truth_values(folder: Path) -> str:
    truth = Truth.load(folder / "sim")
    rates = truth.all_rates()
    return f"{truth.cell_types} {truth.peaks} {of_arrays(rates, truth.bias)}"


GENOMES = (
    Target("FASTA and .fai", write_genome, lambda f: genome_values(f / "genome.fa"),
           {"genome.fa": TEXT, "genome.fa.fai": TEXT}),
    Target("FASTA bgzip", write_bgzip_genome, lambda f: genome_values(f / "genome.fa.gz"),
           {"genome.fa.gz": COMPRESSED}),
    Target("MEME", write_motifs, read_motif_file, {"motifs.meme": TEXT}),
    Target("VCF", write_texts, lambda f: repr(list(read_vcf(f / "variants.vcf"))),
           {"variants.vcf": TEXT}),
    Target("GTF", write_texts, lambda f: of_table(read_genes(f / "genes.gtf")),
           {"genes.gtf": TEXT}),
    Target("BED", write_texts, lambda f: of_table(read_bed(f / "peaks.bed", with_strand=True)),
           {"peaks.bed": TEXT}),
    Target("truth.json", write_simulation, truth_values, {"sim/truth.json": JSON}, is_input=False),
)  # fmt: skip

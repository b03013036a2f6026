"""The genome and what refers to it: sequences, peaks, genes, motifs, variants."""

"""Differential accessibility and TF activity between groups of cells."""

"""Counts and a genome in, an atlas out."""

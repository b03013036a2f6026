"""Batch jobs: work cut into units that are computed and written anywhere, in any order."""

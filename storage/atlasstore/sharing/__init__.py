"""Passing stores on: listing, copying, exporting parts, catalogues, Hugging Face."""

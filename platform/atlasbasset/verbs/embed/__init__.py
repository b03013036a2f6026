"""A model's cells as AnnData."""

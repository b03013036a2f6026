"""Names of the factors in every store: predictions are linear in the embedding of a sequence."""

__all__ = ["EMBEDDING", "INTERCEPT", "SEQUENCE", "STANDARD_ERROR"]

EMBEDDING = "X_scbasset"
"""Cells' embeddings, in obsm (varm where cells or groups are columns)."""
INTERCEPT = "scbasset_intercept"
"""Cells' intercepts, a column of obs (of var where cells are columns)."""
SEQUENCE = "scbasset_sequence"
"""Sequences' embeddings, in varm (obsm where sequences are rows)."""
STANDARD_ERROR = "scbasset_standard_error"
"""Posterior sd of cells' embeddings, in obsm, where they were solved with it."""

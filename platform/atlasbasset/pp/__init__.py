"""Before training: from an AnnData in memory to an atlas (``atlasbasset.pp``).

What scanpy does well stays scanpy's: quality control (`scanpy.pp.calculate_qc_metrics`), doublets,
choice of cells. Give `make_atlas` raw counts, cells x peaks.
"""

from atlasbasset.pp._atlas import make_atlas

__all__ = ["make_atlas"]

"""Published weight files in and out: the released TensorFlow model and scvi-tools' port.

Every reader returns `PublishedWeights`; nothing in a file is ever executed.
"""

from __future__ import annotations

from atlasbasset.weights.keras import read_keras, write_keras
from atlasbasset.weights.published import PublishedWeights, check_weights
from atlasbasset.weights.scvi import read_scvi

__all__ = ["PublishedWeights", "check_weights", "read_keras", "read_scvi", "write_keras"]

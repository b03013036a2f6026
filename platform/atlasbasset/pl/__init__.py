"""Pictures of a model's results (``atlasbasset.pl``), drawn with matplotlib.

Each function draws into axes that it is given or makes, and returns them: titles, colours and
``figure.savefig`` are yours. An embedding is `scanpy.pl.embedding`'s to draw.
"""

from atlasbasset.pl._ism_logo import ism_logo
from atlasbasset.pl._locus import locus
from atlasbasset.pl._tf_activity import tf_activity
from atlasbasset.pl._training import training

__all__ = ["ism_logo", "locus", "tf_activity", "training"]

from __future__ import annotations

import sys

import numpy as np
import pytest
import scipy.sparse as sp

from atlasbasset.metrics import label_score
from atlasbasset.metrics.spectral import spectral
from atlasstore.errors import MissingExtraError


def test_planted_types_lie_together(rng):
    pytest.importorskip("snapatac2", reason="snapatac2 is not installed")
    types = rng.integers(0, 2, 120)
    rates = np.where(np.arange(300) < 150, 0.4, 0.1)
    labels = rng.random((120, 300)) < np.where(types[:, None], rates, rates[::-1])
    assert label_score(spectral(sp.csr_array(labels)), types, (10,)).mean[10] > 0.9


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "snapatac2", None)
    with pytest.raises(MissingExtraError, match=r"needs snapatac2.*peers|snapatac2"):
        spectral(sp.csr_array(np.eye(3)))

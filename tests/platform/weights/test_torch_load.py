from __future__ import annotations

import os
from collections import defaultdict

import numpy as np
import pandas as pd
import pytest
import torch

from atlasbasset.weights.torch_load import load, text_at


def saved(path, value):
    torch.save(value, path)
    return path


def test_tensors_of_every_kind(tmp_path):
    shared = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    state = {
        "part": shared[1:3, ::2],
        "turned": shared.T,
        "doubled": torch.arange(3, dtype=torch.float64),
        "whole": torch.tensor([1, -2]),
        "flag": torch.tensor(True),
        "half": torch.ones(2, dtype=torch.float16),
        "empty": torch.empty(0, 3),
        "parameter": torch.nn.Parameter(torch.ones(2, 2)),
    }
    found, _ = load(saved(tmp_path / "m.pt", state | {"brain": torch.ones(2).bfloat16()}))
    np.testing.assert_array_equal(found.pop("brain"), np.ones(2, np.float32))
    assert set(found) == set(state)
    for name, tensor in state.items():
        np.testing.assert_array_equal(found[name], tensor.detach().numpy())
        assert found[name].dtype == tensor.detach().numpy().dtype


def test_what_is_saved_beside_the_tensors(tmp_path):
    """A trained model holds its history as data frames, and its registry in defaultdicts."""
    history = {"loss": pd.DataFrame({"loss": [1.0, 0.5]}, index=pd.Index([0, 1], name="epoch"))}
    registry = defaultdict(dict, batch={"names": np.array(["left", "right"], dtype=object)})
    value = {
        "model_state_dict": {"w": torch.ones(2)},
        "attr_dict": {"registry_": registry, "history_": history, "score": np.float64(2)},
        "fixed": np.array(["a", "bb"]),
    }
    found, rest = load(saved(tmp_path / "m.pt", value))
    assert set(found) == {"w"}
    assert text_at(rest, ["attr_dict", "registry_", "batch", "names"]) == ["left", "right"]
    assert text_at(rest, ["fixed"]) == ["a", "bb"]
    for keys in (["absent"], ["attr_dict", "history_", "loss"], ["model_state_dict", "w", "x"]):
        assert text_at(rest, keys) is None


class Planted:
    """Asks for a call of `function` when it is unpickled."""

    def __init__(self, function, *args):
        self.asked = function, args

    def __reduce__(self):
        return self.asked


def test_nothing_in_a_file_is_run(tmp_path):
    made = str(tmp_path / "made")
    path = saved(tmp_path / "m.pt", {"w": torch.ones(2), "more": Planted(os.mkdir, made)})
    with pytest.raises(Exception, match="module posix is blocked"):
        load(path)
    harm = [Planted(open, made, "w"), Planted(exec, f"open({made!r}, 'w')"), Planted(np.save, made)]
    found, rest = load(saved(path, {"w": torch.ones(2), "more": harm}))
    assert (list(found), [type(h).__name__ for h in rest["more"]]) == (["w"], ["_Ignored"] * 3)
    assert [p.name for p in tmp_path.iterdir()] == ["m.pt"]

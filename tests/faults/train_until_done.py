"""A training run in its own process, to be killed: train_until_done.py ATLAS MODEL EPOCHS."""

from __future__ import annotations

import sys

import atlasbasset
from tiny import config

if __name__ == "__main__":
    atlas, model, epochs = sys.argv[1:]
    settings = config(epochs=int(epochs), checkpoint_s=0.02)
    atlasbasset.train(atlas, out=model, config=settings)

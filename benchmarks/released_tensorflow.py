"""Training steps of the released TensorFlow code, one for each line on standard input.

Run by `peers.released_step` with a Python of its own that has TensorFlow 2 (Keras 2: at most 2.15)
and the released `scbasset` package, for example after

    pip install 'tensorflow-cpu==2.15.*' h5py anndata pysam psutil biopython
    pip install git+https://github.com/calico/scBasset

Compiled as the released script does, but without its two AUC metrics, which are no part of a step.
"""

from __future__ import annotations

import sys

import numpy as np
import tensorflow as tf
from scbasset.utils import make_model


def main(arrays: str, threads: str) -> None:
    """Answer every line with "done" when a step on `arrays` (codes, labels) has been taken."""
    tf.config.threading.set_intra_op_parallelism_threads(int(threads))
    with np.load(arrays) as found:
        onehot = np.eye(4, dtype=np.float32)[found["codes"]]
        labels = found["labels"].astype(np.float32)
    model = make_model(32, labels.shape[1], show_summary=False)
    optimizer = tf.keras.optimizers.Adam(learning_rate=0.01, beta_1=0.95, beta_2=0.9995)
    model.compile(loss=tf.keras.losses.BinaryCrossentropy(), optimizer=optimizer)
    for _ in sys.stdin:
        model.train_on_batch(onehot, labels)
        print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

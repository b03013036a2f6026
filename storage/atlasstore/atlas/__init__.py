"""The atlas store: peaks, sequences, labels in cell blocks."""

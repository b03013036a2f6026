"""Training: one loop behind a small runtime interface, in-process or on many workers."""

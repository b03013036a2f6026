"""Training: what is checked and written around the engine's loop."""

"""TF activity by motif insertion."""

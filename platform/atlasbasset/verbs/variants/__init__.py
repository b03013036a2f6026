"""Effects of variants on each group of cells."""

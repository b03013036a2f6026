"""What a person runs: the command line, its progress display, the demo."""

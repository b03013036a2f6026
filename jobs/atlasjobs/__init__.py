"""What a user runs: the command line, its progress display, the demo."""

"""Accessibility of groups of cells along the genome, as files that a browser reads by URL."""

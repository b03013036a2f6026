"""What a person asks for, one module a verb; all are re-exported by `atlasbasset`."""

"""Where work runs: a Ray session, joined or started."""

"""New cells onto a trained trunk."""

"""The result store: what batch jobs write and anyone opens."""

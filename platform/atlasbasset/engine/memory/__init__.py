"""What training will hold in memory, planned before it starts."""

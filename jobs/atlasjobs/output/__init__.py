"""What people and programs read: console, progress, JSON."""

"""What a verb plans and has done, line by line."""

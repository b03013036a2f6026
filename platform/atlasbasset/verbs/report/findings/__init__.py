"""What a report shows, as plain data: each module gathers one part and knows nothing of pages."""

"""Long work that resumes: what was done, by receipts."""

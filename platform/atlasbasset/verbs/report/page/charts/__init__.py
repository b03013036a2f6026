"""One module per part of the report, one function per figure."""

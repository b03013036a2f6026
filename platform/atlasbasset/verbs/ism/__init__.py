"""In-silico mutagenesis: what each base does to each group of cells."""

"""Out-of-core transposition: cells come in as rows, peak-major cell blocks go out.

Every input is read once. What is read goes to a scratch folder in pieces of some million positives
(`scratch`), because the cells an atlas keeps depend on the peaks it keeps, which all cells decide;
inputs that are slow to read (remote, compressed, stored by peaks, fragments) are then not read
again. From the pieces each block is counted and scattered into place (`labels`), over as many
ranges of peaks as its share of the memory asks for (`plan`). Spans of cells and blocks are
independent tasks that Dask runs (`workers`), and each writes arrays of its own.
"""

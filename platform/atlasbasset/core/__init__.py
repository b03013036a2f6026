"""The numeric core: torch and numpy only (numba for the CPU's fused passes), no stores, no Ray.

Letters used in names, as suffixes of arrays::

    B  sequences in a batch        L  sequence length, bp (or positions after pooling)
    C  channels of a layer's input F  filters, channels of its output
    P  peaks                       N  cells
    E  bottleneck width (32)
"""

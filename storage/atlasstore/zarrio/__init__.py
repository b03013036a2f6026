"""Zarr stores: arrays, tables, formats, cell blocks."""

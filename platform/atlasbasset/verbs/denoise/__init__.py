"""Denoised accessibility: cells by peaks, or by genes."""

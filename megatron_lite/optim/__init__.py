"""Optimizers over named groups."""

"""Figures of a sweep: the paper's and Time Transfer's, from anyone's results, one a file."""

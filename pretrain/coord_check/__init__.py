"""The coordinate check of a config: which widths, what is printed, what is drawn."""

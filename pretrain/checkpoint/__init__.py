"""The checkpoint: the training state as a map of names, on disk."""

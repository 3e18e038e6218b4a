"""The decoder, one idea a file. It knows nothing of ranks, files or optimizers."""

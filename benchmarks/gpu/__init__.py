"""The proof on a GPU: parity of its kernels, speed and memory of the 3B models."""

"""The laws of pretraining: fits of learning rates, loss curves, batch sizes and scale, on plain arrays."""

"""Benchmark tasks: lm-eval-harness asks, the decoder answers, on all ranks."""

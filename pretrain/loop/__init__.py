"""The loop: build, step, train."""

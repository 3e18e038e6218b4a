"""Loss on held-out text, benchmark tasks, and generation."""

"""Loss on held-out text, and generation."""

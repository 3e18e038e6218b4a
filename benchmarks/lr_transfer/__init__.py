"""Is the best learning rate of a narrow model the best of a wide one? Measured, with µP and without."""

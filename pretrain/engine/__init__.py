"""The engine: one protocol with two implementations, DeepSpeed and plain torch."""

"""The paper's experiment on tiny decoders: the law of the learning rate found, and put to the test."""

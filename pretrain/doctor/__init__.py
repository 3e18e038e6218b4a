"""What is wrong with a machine before a run finds out: facts, judgements, and advice."""

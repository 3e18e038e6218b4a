"""What an expert would warn of, a rule a function: the run in, sentences out."""

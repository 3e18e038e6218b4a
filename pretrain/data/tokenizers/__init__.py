"""The kinds of tokenizer: sentencepiece models of our own, and whatever transformers reads."""

"""From text to training rows: sources, tokenizer, token shards, order, mixture, packing."""

"""`pretrain laws`: one command a file, each thin over `pretrain.laws`."""

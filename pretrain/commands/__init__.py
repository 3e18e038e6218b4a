"""The commands of `pretrain`, one a file. Whatever is heavy is imported when a command runs."""

"""The config: its typed schema, how it is loaded and overridden, and what follows from it."""

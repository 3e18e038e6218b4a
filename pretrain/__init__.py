"""The run: what happens to text, files and time."""

__version__ = "0.1.0"

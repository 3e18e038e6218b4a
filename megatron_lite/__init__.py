"""The mathematics: what a model is and how it learns. No files, network, environment or ranks."""

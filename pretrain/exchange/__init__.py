"""To and from the architecture that transformers calls Granite and GraniteMoe.

The door: `to_transformers.export_model`, `from_transformers.import_model` and, for a run that begins with
weights of another, `source.weights_of`.
"""

"""What a person sees of a run: its record, the console, trackers, curves and the report."""

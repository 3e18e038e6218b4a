"""What a person looks at behind a run or beside it: one page of a run, or of several side by side."""

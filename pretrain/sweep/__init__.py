"""Many runs from one description: which they are, the queue that makes them, and the table of what came."""

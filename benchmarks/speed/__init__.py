"""What the speed benchmarks are made of: shapes, contenders, worker processes, rounds and tables."""

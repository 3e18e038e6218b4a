"""What a run would need and cost: machines, memory, hours, disk, text, and what an expert would say."""

"""Training: the loop, its checkpoints, and what makes both repeatable."""

"""Part I: reinforcement learning, one algorithm per file."""

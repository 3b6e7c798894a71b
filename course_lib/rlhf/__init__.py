"""Part III: reinforcement learning shapes a language model, one algorithm per file."""

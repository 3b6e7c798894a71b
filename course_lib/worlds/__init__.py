"""What the lessons learn from: worlds of known truth, corpora, tasks, pretrained models."""

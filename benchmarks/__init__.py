"""Scripts that reproduce every figure the course states. `python -m benchmarks list` names them."""

"""Random numbers that depend on a seed and nothing else, and batches drawn with them.

A seed feeds several streams: environments, first weights, actions, batches. Each gets a number of
its own, since two streams from the same seed alone would be the same numbers twice.
"""

from collections.abc import Iterator

import numpy as np
import torch


def generator(seed: int, stream: int = 1, device: torch.device | str = "cpu") -> torch.Generator:
    """The ``stream``-th source of random numbers of a seed; never that of ``manual_seed(seed)``."""
    state = np.random.SeedSequence((seed, stream)).generate_state(1)[0]
    return torch.Generator(device).manual_seed(int(state))


def shuffled_batches(number: int, size: int, generator: torch.Generator) -> Iterator[list[int]]:
    """Batches of ``size`` of the numbers 0 to ``number`` - 1, for ever.

    Every number comes once before any comes again. A batch may span two such rounds, so that none
    is smaller than the others.
    """
    if number < 1:
        raise ValueError(f"a batch needs at least one row, got {number}")
    order: list[int] = []
    while True:
        while len(order) < size:
            order += torch.randperm(number, generator=generator).tolist()
        yield order[:size]
        order = order[size:]

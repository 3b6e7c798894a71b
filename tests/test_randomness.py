"""Streams of random numbers that do not meet, and batches that leave nothing out."""

import pytest
import torch

from course_lib import randomness


def test_a_stream_depends_on_its_seed_and_number_alone():
    draws = {
        (seed, stream): torch.rand(4, generator=randomness.generator(seed, stream)).tolist()
        for seed in (0, 1)
        for stream in (1, 2)
    }
    assert len({tuple(d) for d in draws.values()}) == 4
    assert draws[0, 1] == torch.rand(4, generator=randomness.generator(0)).tolist()
    plain = torch.rand(4, generator=torch.Generator().manual_seed(0)).tolist()
    assert plain not in draws.values()


@pytest.mark.parametrize(("number", "size"), [(6, 2), (5, 3), (2, 5), (1, 1)])
def test_every_number_comes_once_before_any_comes_again(number, size):
    batches = randomness.shuffled_batches(number, size, randomness.generator(0))
    drawn = [next(batches) for _ in range(number)]
    assert all(len(batch) == size for batch in drawn)
    row = [i for batch in drawn for i in batch]
    for start in range(0, len(row), number):
        assert sorted(row[start : start + number]) == list(range(number))


def test_batches_of_nothing_are_refused():
    with pytest.raises(ValueError, match="needs at least one row, got 0"):
        next(randomness.shuffled_batches(0, 4, randomness.generator(0)))

"""Best-of-n: its KL against brute force, its value against all draws."""

import math
from itertools import combinations

import pytest
import torch

from course_lib.rlhf import best_of_n


def test_the_kl_is_that_of_the_best_of_n_equally_probable_ranks():
    # 4,000 ranks, all equally probable; number i is the best of n with probability p.
    ranks = torch.arange(1, 4001, dtype=torch.float64) / 4000
    for n in (1, 2, 7, 64):
        p = ranks**n - (ranks - 1 / 4000) ** n
        measured = float((p * (p * 4000).log()).sum())
        assert best_of_n.kl(n) == pytest.approx(measured, abs=1e-3)
    with pytest.raises(ValueError, match="n of at least 1, got 0"):
        best_of_n.kl(0)


def test_the_value_is_the_mean_over_all_draws():
    generator = torch.Generator().manual_seed(0)
    proxy, value = torch.randn(2, 3, 8, generator=generator)
    for n in range(1, 9):
        by_hand = [
            [v[max(c, key=lambda i, p=p: p[i])] for c in combinations(range(8), n)]
            for p, v in zip(proxy, value, strict=True)
        ]
        expected = torch.tensor(by_hand, dtype=torch.float64).mean(dim=1)
        torch.testing.assert_close(best_of_n.best_value(proxy, value, n), expected)
    with pytest.raises(ValueError, match=r"n must lie in \[1, 8\]"):
        best_of_n.best_value(proxy, value, 9)


def test_it_stays_finite_for_many_responses():
    proxy = torch.arange(1000.0)
    assert best_of_n.best_value(proxy, torch.ones(1000), 500).item() == pytest.approx(1.0)
    # The mean of the largest of n numbers from 0 to N - 1 is n (N + 1) / (n + 1) - 1.
    found = best_of_n.best_value(proxy, proxy, 500).item()
    assert found == pytest.approx(500 * 1001 / 501 - 1)


def test_a_curve_has_a_record_for_each_n():
    proxy = torch.tensor([[0.0, 1.0, 2.0], [2.0, 0.0, 1.0]])
    rows = best_of_n.curve(proxy, -proxy, (1, 3))
    assert [row["n"] for row in rows] == [1, 3]
    assert rows[1]["proxy"] == 2 and rows[1]["true"] == -2
    assert rows[1]["kl"] == pytest.approx(math.log(3) - 2 / 3)

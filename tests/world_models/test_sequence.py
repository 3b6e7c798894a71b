"""Masks, event losses, sampled frames, returns of dreams: against loops written another way."""

import math

import pytest
import torch

from course_lib.rl import returns as real
from course_lib.world_models import returns, sequence


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("places", [1, 3])
def test_mask_against_a_walk_over_all_pairs(places):
    ended = torch.rand(4, 6, generator=generator()) < 0.3
    mask = sequence.block_causal_mask(ended, places)
    assert mask.shape == (4, 6 * places, 6 * places) and mask.dtype == torch.bool
    for b, query, key in torch.cartesian_prod(*map(torch.arange, mask.shape)).tolist():
        t, s = query // places, key // places
        assert mask[b, query, key] == (s <= t and not ended[b, s:t].any())


def test_mask_of_one_place_and_no_end_is_the_causal_mask():
    mask = sequence.block_causal_mask(torch.zeros(2, 5, dtype=torch.bool), 1)
    assert torch.equal(mask[0], torch.ones(5, 5, dtype=torch.bool).tril())


def test_events_are_read_at_the_last_place_of_each_step():
    places, steps = 3, 4
    logits = torch.randn(2, places * steps, 3, generator=generator(), dtype=torch.float64)
    ends = torch.randn(2, places * steps, generator=generator(1), dtype=torch.float64)
    rewards = torch.randint(3, (2, steps), generator=generator(2))
    terminated = torch.rand(2, steps, generator=generator(3)) < 0.5
    valid = torch.tensor([[1, 1, 0, 1], [1, 0, 1, 1]]).bool()
    total = 0.0
    for b, t in valid.nonzero().tolist():
        at = places * t + places - 1
        total -= math.log(torch.softmax(logits[b, at], 0)[rewards[b, t]])
        p = 1 / (1 + math.exp(-ends[b, at]))
        total -= math.log(p if terminated[b, t] else 1 - p)
    found = sequence.event_nll(logits, ends, rewards, terminated, valid)
    assert float(found) == pytest.approx(total / 6)
    nothing = sequence.event_nll(logits, ends, rewards, terminated, torch.zeros_like(valid))
    assert float(nothing) == 0


def futures(tokens):
    """Token v puts the ball into cell v of a row of four."""
    cells = -torch.ones(len(tokens), 1, 1, 4)
    return cells.scatter(3, tokens.view(-1, 1, 1, 1), 1.0)


def test_drawn_frames_come_as_often_as_their_tokens_and_never_mix():
    logits = torch.tensor([0.5, 0.2, 0.0, 0.3]).log().expand(20_000, 4)
    draws = torch.rand(20_000, generator=generator())
    frames = sequence.sample_frame(logits, futures, draws)
    assert frames.dtype == torch.uint8 and bool((frames.sum((1, 2, 3)) == 1).all())
    shares = frames[:, 0, 0].float().mean(0)
    assert torch.allclose(shares, torch.tensor([0.5, 0.2, 0.0, 0.3]), atol=0.015)
    cold = sequence.sample_frame(logits, futures, draws, temperature=0)
    assert bool((cold[:, 0, 0, 0] == 1).all())
    cool = sequence.sample_frame(logits, futures, draws, temperature=0.5)
    weights = torch.tensor([0.25, 0.04, 0.0, 0.09])
    assert torch.allclose(cool[:, 0, 0].float().mean(0), weights / weights.sum(), atol=0.015)


def test_a_draw_beyond_the_rounded_sum_takes_the_last_token():
    logits = torch.zeros(1, 4)
    frame = sequence.sample_frame(logits, futures, torch.tensor([1.0]))
    assert frame[0, 0, 0].tolist() == [0, 0, 0, 1]


def test_returns_agree_with_those_of_real_episodes_where_ends_are_certain():
    rewards, values = torch.randn(2, 9, 5, generator=generator())
    terminated = torch.rand(9, 5, generator=generator(1)) < 0.2
    never = torch.zeros_like(terminated)
    expected = real.lambda_returns(rewards, values, terminated, never, 0.97, 0.95)
    found = returns.dream_returns(rewards, values, (~terminated).float(), 0.97, 0.95)
    assert torch.allclose(found, expected, atol=1e-6)


def test_returns_are_those_that_drawn_ends_give_on_average():
    rewards, values = torch.randn(2, 4, 1, generator=generator(), dtype=torch.float64)
    continues = torch.tensor([0.9, 0.5, 1.0, 0.7], dtype=torch.float64)[:, None]
    expected = torch.zeros(4, 1, dtype=torch.float64)
    for ends in range(16):  # every pattern of drawn ends, weighted by how likely it is
        alive = torch.tensor([ends >> t & 1 for t in range(4)], dtype=torch.float64)[:, None]
        likely = torch.where(alive == 1, continues, 1 - continues).prod()
        expected += likely * returns.dream_returns(rewards, values, alive, 0.9, 0.8)
    found = returns.dream_returns(rewards, values, continues, 0.9, 0.8)
    assert torch.allclose(found, expected)


def test_weights_count_the_steps_before():
    continues = torch.tensor([[0.5, 1.0], [0.4, 0.0], [0.1, 1.0]])
    found = returns.continue_weights(continues)
    assert torch.allclose(found, torch.tensor([[1.0, 1.0], [0.5, 1.0], [0.2, 0.0]]))


def test_errors_are_sentences():
    with pytest.raises(ValueError, match="places must be at least 1, got 0"):
        sequence.block_causal_mask(torch.zeros(1, 2, dtype=torch.bool), 0)
    with pytest.raises(ValueError, match="temperature must not be negative, got -1"):
        sequence.sample_frame(torch.zeros(1, 4), futures, torch.zeros(1), -1)
    with pytest.raises(ValueError, match=r"gamma must lie in \[0, 1\], got 2"):
        returns.dream_returns(*torch.zeros(3, 2, 1), gamma=2, lam=1)
    with pytest.raises(ValueError, match="5 places cannot be shared out among 2 steps"):
        sequence.event_nll(
            torch.zeros(1, 5, 2),
            torch.zeros(1, 5),
            torch.zeros(1, 2, dtype=torch.long),
            *torch.zeros(2, 1, 2, dtype=torch.bool),
        )

"""PPO for language models: each piece by brute force, then a policy that learns."""

import copy
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from course_lib.lm import losses
from course_lib.lm.gpt import GPT, GPTConfig
from course_lib.rlhf import ppo

END, A, B = 0, 1, 2
# padding on the left, a prompt, a response, what is left of the row
MASK = torch.tensor([[0, 0, 1, 1, 1, 0], [0, 1, 0, 0, 0, 0], [0, 0, 0, 1, 1, 1]]).bool()


def numbers(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=6, context=16, layers=2, width=16, heads=2))
    model.embedding.weight.data *= 20  # far from uniform
    return model


def test_token_logp_is_what_the_language_model_says(model):
    tokens = torch.randint(6, MASK.shape, generator=torch.Generator().manual_seed(0))
    valid = torch.tensor([[0, 1, 1, 1, 1, 0], [1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]]).bool()
    found = ppo.token_logp(model(tokens, valid) / 0.7, tokens, MASK)
    expected = losses.response_logp(model, tokens, valid, MASK, temperature=0.7)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_the_score_stands_at_the_last_token_of_each_response():
    scores = torch.tensor([1.0, -2.0, 3.0])
    found = ppo.terminal_rewards(scores, MASK)
    assert found.nonzero().tolist() == [[0, 4], [1, 1], [2, 5]]
    assert found.sum(dim=1).tolist() == scores.tolist()
    assert ppo.terminal_rewards(scores, torch.zeros_like(MASK)).abs().sum() == 0


def test_the_penalty_sums_to_the_log_ratio_and_passes_no_gradient():
    logp, ref = numbers(3, 6, seed=1).requires_grad_(), numbers(3, 6, seed=2)
    ratios = (logp - ref).detach()
    scores = torch.tensor([1.0, 2.0, 3.0])
    found = ppo.kl_shaped_rewards(ppo.terminal_rewards(scores, MASK), logp, ref, MASK, 0.3)
    assert not found.requires_grad
    for i in range(3):
        ratio = sum(float(ratios[i, t]) for t in range(6) if MASK[i, t])
        assert float(found[i].sum()) == pytest.approx(float(scores[i]) - 0.3 * ratio, abs=1e-5)
    assert found[~MASK].abs().sum() == 0


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.5), (1.0, 1.0), (1.0, 0.0)])
def test_advantages_against_the_sum_of_surprises(gamma, lam):
    rewards, values = numbers(3, 6, seed=3), numbers(3, 6, seed=4)
    found = ppo.token_advantages(rewards, values, MASK, gamma, lam)
    for i in range(3):
        columns = MASK[i].nonzero()[:, 0].tolist()
        for k, t in enumerate(columns):
            expected = 0.0
            for j, u in enumerate(columns[k:]):  # u + 1 exists but for the last token
                after = float(values[i, u + 1]) if u != columns[-1] else 0.0
                surprise = float(rewards[i, u]) + gamma * after - float(values[i, u])
                expected += (gamma * lam) ** j * surprise
            assert float(found[i, t]) == pytest.approx(expected, abs=1e-5)
    assert found[~MASK].abs().sum() == 0


def test_without_discount_and_trace_decay_an_advantage_is_the_return_less_the_value():
    rewards, values = numbers(3, 6, seed=3), numbers(3, 6, seed=4)
    found = ppo.token_advantages(rewards, values, MASK, 1.0, 1.0)
    kept = rewards.masked_fill(~MASK, 0.0)
    ahead = kept.flip(1).cumsum(1).flip(1)
    torch.testing.assert_close(found[MASK], (ahead - values)[MASK])


def test_what_stands_outside_a_response_changes_nothing():
    rewards, values = numbers(3, 6, seed=3), numbers(3, 6, seed=4)
    found = ppo.token_advantages(rewards.masked_fill(~MASK, 0), values, MASK, 1.0, 0.95)
    odd = values.masked_fill(~MASK, 1e6)
    again = ppo.token_advantages(rewards.masked_fill(~MASK, 0), odd, MASK, 1.0, 0.95)
    torch.testing.assert_close(found, again)
    torch.testing.assert_close(
        ppo.whiten_advantages(found, MASK),
        ppo.whiten_advantages(found.masked_fill(~MASK, 50.0), MASK),
    )


@pytest.mark.parametrize(("left", "right"), [(2, 0), (0, 3), (2, 3)])
def test_padding_on_either_side_changes_nothing(model, left, right):
    tokens = torch.tensor([[3, 4, 1, 2, 5]])
    valid = torch.ones_like(tokens).bool()
    mask = torch.tensor([[0, 0, 1, 1, 1]]).bool()
    critic = ppo.Critic(model)
    torch.nn.init.normal_(critic.head.weight)
    scores = torch.tensor([1.5])

    def everything(tokens, valid, mask):
        with torch.no_grad():
            logp = losses.response_logp(model, tokens, valid, mask)
            values = critic(tokens, valid)
            rewards = ppo.terminal_rewards(scores, mask)
            rewards = ppo.kl_shaped_rewards(rewards, logp, logp - 1, mask, 0.1)
            advantages = ppo.token_advantages(rewards, values, mask, 1.0, 0.95)
            white = ppo.whiten_advantages(advantages, mask)
            return [x[mask] for x in (logp, values, rewards, advantages, white)]

    pad = (left, right)
    padded = [torch.nn.functional.pad(x, pad) for x in (tokens, valid, mask)]
    for one, other in zip(everything(tokens, valid, mask), everything(*padded), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_a_value_has_not_seen_the_token_that_it_is_the_baseline_of(model):
    critic = ppo.Critic(model)
    assert critic(torch.tensor([[1, 2, 3]])).abs().sum() == 0, "no opinion at first"
    torch.nn.init.normal_(critic.head.weight)
    one = critic(torch.tensor([[1, 2, 3, 4]]))
    other = critic(torch.tensor([[1, 2, 5, 4]]))
    assert one[0, 0] == 0
    torch.testing.assert_close(one[:, :3], other[:, :3])  # tokens 0 to 1 agree
    assert (one[0, 3] - other[0, 3]).abs() > 1e-4


def test_beta_rises_above_the_target_and_falls_below_it():
    assert ppo.adapted_beta(0.1, kl=4.0, target=4.0) == 0.1
    assert ppo.adapted_beta(0.1, kl=4.2, target=4.0) == pytest.approx(0.1 * 1.025)
    assert ppo.adapted_beta(0.1, kl=400.0, target=4.0) == pytest.approx(0.11)  # a fifth, halved
    assert ppo.adapted_beta(0.1, kl=-3.0, target=4.0) == pytest.approx(0.09)


def test_the_loss_by_hand():
    """One response of two tokens: a ratio within the clip and one beyond it."""
    mask = torch.tensor([[False, True, True]])
    old = torch.tensor([[9.0, -1.0, -1.0]])
    logp = torch.tensor([[0.0, math.log(1.1) - 1, math.log(2.0) - 1]])
    advantages, values = torch.tensor([[7.0, 2.0, 3.0]]), torch.tensor([[5.0, 1.0, 0.5]])
    targets, old_values = torch.tensor([[0.0, 0.0, 0.0]]), torch.tensor([[0.0, 1.0, 1.0]])
    batch = ppo.Batch(None, None, mask, old, old_values, advantages, targets)
    loss, metrics = ppo.ppo_loss(logp, values, batch, ppo.Config(clip=0.2, value_clip=0.2))
    policy = -(1.1 * 2 + 1.2 * 3) / 2
    value = 0.5 * (1.0 + 0.8**2) / 2  # the second moved by 0.5: the one kept within 0.2 is worse
    assert metrics["policy_loss"].item() == pytest.approx(policy, rel=1e-5)
    assert metrics["value_loss"].item() == pytest.approx(value, rel=1e-5)
    assert loss.item() == pytest.approx(policy + 0.5 * value, rel=1e-5)
    assert metrics["clipped"].item() == 0.5
    kl = (0.1 - math.log(1.1) + 1.0 - math.log(2.0)) / 2
    assert metrics["update_kl"].item() == pytest.approx(kl, rel=1e-4)


@pytest.mark.parametrize(
    ("name", "value"),
    [("gamma", 1.1), ("clip", 0.0), ("beta", -0.1), ("kl_target", 0.0), ("epochs", 0)],
)
def test_settings_out_of_range_are_sentences(name, value):
    with pytest.raises(ValueError, match=f"{name} must .*, got {value}"):
        ppo.Config(**{name: value})


# --- The whole ------------------------------------------------------------------------------------

SMALL = ppo.Config(
    total_steps=12, batch_size=32, max_new_tokens=4, minibatch_size=16, beta=0.0, learning_rate=5e-3
)


def likes_a(prompts, responses):
    return torch.tensor([float(response.count(A)) for response in responses])


@pytest.fixture
def undecided(model):
    model.embedding.weight.data /= 20
    return model


def run(model, config):
    policy, critic = copy.deepcopy(model), ppo.Critic(model)
    updates = ppo.train(policy, critic, model, [[3, 4], [5]], likes_a, END, config, 0)
    return policy, list(updates)


def test_it_learns_what_is_rewarded_and_leaves_the_reference_alone(undecided):
    before = copy.deepcopy(undecided.state_dict())
    _, rows = run(undecided, SMALL)
    assert rows[-1]["reward"] > rows[0]["reward"] + 1
    assert rows[-1]["kl"] > 0.5
    assert [row["steps"] for row in rows] == list(range(1, 13))
    assert all(np.isfinite(list(row.values())).all() for row in rows)
    for name, value in undecided.state_dict().items():
        assert torch.equal(value, before[name])


def test_the_first_update_starts_at_the_reference(undecided):
    _, rows = run(undecided, SMALL)
    assert rows[0]["kl"] == pytest.approx(0.0, abs=1e-4)


def test_a_high_price_keeps_it_near_the_reference(undecided):
    free, leashed = (run(undecided, replace(SMALL, beta=beta))[1] for beta in (0.0, 2.0))
    assert leashed[-1]["kl"] < 0.5 * free[-1]["kl"]


def test_an_adaptive_price_follows_the_divergence(undecided):
    config = replace(SMALL, beta=0.1, kl_target=0.2)
    betas = [row["beta"] for row in run(undecided, config)[1]]
    kls = [row["kl"] for row in run(undecided, config)[1]]
    for (beta, later), kl in zip(itertools.pairwise(betas), kls, strict=False):
        assert (later > beta) == (kl > 0.2)


def test_the_same_seed_gives_the_same_run(undecided):
    one, two = (run(undecided, SMALL)[0].state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)

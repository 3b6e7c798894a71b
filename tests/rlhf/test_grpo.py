"""GRPO: advantages, token weights, KL estimates and their gradients, the loss, and learning."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from course_lib.lm import lora
from course_lib.lm.gpt import GPT, GPTConfig
from course_lib.lm.losses import response_logp
from course_lib.rl import losses
from course_lib.rlhf import grpo
from course_lib.rlhf.grpo import Config

SMALL = GPTConfig(vocab_size=12, layers=2, width=32, heads=4, kv_heads=2)
END = 1
FAST = Config(total_steps=3, prompts=3, group_size=4, max_new_tokens=5, micro_batch=5)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return GPT(SMALL)


def prompts():
    return [[2, 3, 4], [5], [6, 7], [8, 9, 10, 11]]


def writes_sevens(prompts, responses):
    return torch.tensor([float(np.mean([token == 7 for token in r])) for r in responses])


def drawn(seed=0, rows=6, columns=7):
    """Log-probabilities of three policies, advantages, a ragged mask, by a generator."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    logp, old, ref = (-2 + 0.3 * draw(rows, columns) for _ in range(3))
    lengths = torch.randint(1, columns + 1, (rows, 1), generator=generator)
    return logp, old, ref, draw(rows), torch.arange(columns) < lengths


def test_advantages_by_hand():
    rewards = torch.tensor([[0.0, 1.0, 1.0, 0.0], [3.0, 1.0, 1.0, 3.0]])
    sign = torch.tensor([[-1.0, 1, 1, -1], [1, -1, -1, 1]])
    deviation = torch.tensor([[(1 / 3) ** 0.5], [(4 / 3) ** 0.5]])  # of the sample: over G - 1
    size = torch.tensor([[0.5], [1.0]])
    torch.testing.assert_close(grpo.group_advantages(rewards), sign * size / (deviation + 1e-4))
    torch.testing.assert_close(grpo.group_advantages(rewards, "none"), sign * size)


@pytest.mark.parametrize("scale", ["std", "none"])
def test_a_tied_group_gives_exactly_zero(scale):
    rewards = torch.full((2, 7), 0.1)  # seven times 0.1 is not 0.7 in float32
    rewards[1, 0] = 1.0
    advantages = grpo.group_advantages(rewards, scale)
    assert advantages[0].tolist() == [0.0] * 7
    assert advantages[1].abs().min() > 0


def test_each_group_is_judged_by_itself():
    rewards = torch.rand(3, 5, generator=torch.Generator().manual_seed(0))
    moved = rewards + torch.tensor([[0.0], [10.0], [-3.0]])
    torch.testing.assert_close(
        grpo.group_advantages(rewards), grpo.group_advantages(moved), atol=1e-4, rtol=1e-4
    )


def test_token_weights_by_hand():
    mask = torch.tensor([[0, 1, 1, 1, 1], [0, 1, 0, 0, 0]]).bool()
    sequence = [[0, 1 / 8, 1 / 8, 1 / 8, 1 / 8], [0, 1 / 2, 0, 0, 0]]
    torch.testing.assert_close(grpo.token_weights(mask), torch.tensor(sequence))
    constant = grpo.token_weights(mask, "constant", 10)
    torch.testing.assert_close(constant, mask / 20.0)
    torch.testing.assert_close(grpo.token_weights(mask, "token", 10), mask / 5.0)


def test_a_row_without_tokens_weighs_nothing():
    mask = torch.tensor([[1, 1], [0, 0]]).bool()
    for normalise in ("sequence", "constant", "token"):
        weights = grpo.token_weights(mask, normalise, 2)
        assert weights[1].tolist() == [0, 0] and weights[0].min() > 0


@pytest.mark.parametrize("kind", ["k1", "k2", "k3"])
def test_the_gradient_of_each_kl_estimate(kind):
    """Enumerated: k1 has none in expectation, k2 that of KL(pi || ref), k3 of KL(ref || pi)."""
    generator = torch.Generator().manual_seed(3)
    ref = torch.randn(5, generator=generator, dtype=torch.float64).log_softmax(0)
    theta = torch.randn(5, generator=generator, dtype=torch.float64, requires_grad=True)

    def gradient(loss):
        return torch.autograd.grad(loss, theta, retain_graph=True)[0]

    logp = theta.log_softmax(0)
    # The expectation over tokens drawn from pi; the draw itself is not differentiated.
    surrogate = (logp.detach().exp() * grpo.kl_estimate(logp, ref, kind)).sum()
    expected = {
        "k1": torch.zeros(5, dtype=torch.float64),
        "k2": gradient((logp.exp() * (logp - ref)).sum()),
        "k3": gradient((ref.exp() * (ref - logp)).sum()),
    }
    torch.testing.assert_close(gradient(surrogate), expected[kind])
    if kind != "k2":
        kl = (logp.exp() * (logp - ref)).sum()
        torch.testing.assert_close(surrogate, kl)


@pytest.mark.parametrize("normalise", ["sequence", "constant", "token"])
def test_the_loss_by_hand(normalise):
    logp, old, ref, advantages, mask = drawn()
    weights = grpo.token_weights(mask, normalise, 9)
    loss, metrics = grpo.grpo_loss(
        logp, old, advantages, weights, clip=0.2, ref_logp=ref, beta=0.3, kl="k3"
    )
    total, rows = 0.0, []
    for i in range(len(logp)):
        tokens = []
        for t in range(int(mask[i].sum())):
            ratio = float(torch.exp(logp[i, t] - old[i, t]))
            held = min(max(ratio, 0.8), 1.2)
            d = float(ref[i, t] - logp[i, t])
            surrogate = min(ratio * float(advantages[i]), held * float(advantages[i]))
            tokens.append(-surrogate + 0.3 * (np.exp(d) - d - 1))
        rows.append(tokens)
    if normalise == "sequence":
        total = np.mean([np.mean(row) for row in rows])
    elif normalise == "constant":
        total = sum(map(sum, rows)) / (len(rows) * 9)
    else:
        total = np.mean(np.concatenate(rows))
    assert float(loss) == pytest.approx(total, rel=1e-5)
    assert set(metrics) == {"policy_loss", "kl", "clipped", "ref_kl"}


def test_what_stands_outside_the_mask_does_not_matter():
    logp, old, ref, advantages, mask = drawn()
    weights = grpo.token_weights(mask)
    spoiled = [x.masked_fill(~mask, -torch.inf) for x in (logp, old, ref)]
    both = []
    for a, b, c in ((logp, old, ref), spoiled):
        a = a.clone().requires_grad_()
        loss, _ = grpo.grpo_loss(a, b, advantages, weights, ref_logp=c, beta=0.1)
        (gradient,) = torch.autograd.grad(loss, a)
        both.append(loss.item())
        assert gradient[~mask].abs().max() == 0 and gradient.isfinite().all()
    assert both[0] == pytest.approx(both[1])


def gradient_of(model, config, advantages=None):
    """What one update adds up to, before the optimiser."""
    generator = torch.Generator().manual_seed(0)
    sampling = grpo.Sampling(config.max_new_tokens, 1.0, stop_tokens=(END,))
    rows = [p for p in prompts()[:3] for _ in range(4)]
    rollout = grpo.collect(model, rows, writes_sevens, sampling, generator)
    if advantages is None:
        advantages = torch.linspace(-1, 1, 12)
    weights = grpo.token_weights(rollout.response_mask, config.normalise, config.max_new_tokens)
    model.zero_grad()
    parts = grpo.micro_batches(rollout, advantages, weights, config)
    metrics = grpo.accumulate_gradient(model, GPT(SMALL), parts, config)
    return [p.grad.clone() for p in model.parameters()], metrics, rollout, weights


@pytest.mark.parametrize("normalise", ["sequence", "constant", "token"])
@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_micro_batches_add_up(model, normalise, beta):
    whole = replace(FAST, micro_batch=12, normalise=normalise, beta=beta)
    torch.manual_seed(1)
    one, metrics, *_ = gradient_of(model, whole)
    torch.manual_seed(1)
    several, same, *_ = gradient_of(model, replace(whole, micro_batch=5))
    for a, b in zip(one, several, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)
    assert metrics == pytest.approx(same, abs=1e-5)


def test_the_gradient_is_that_of_the_weighted_log_probabilities(model):
    """On-policy and without a penalty, GRPO is REINFORCE with the group as baseline."""
    advantages = torch.linspace(-1, 1, 12)
    advantages[3:5] = 0.0  # such rows are skipped
    mine, _, rollout, weights = gradient_of(model, FAST, advantages)
    model.zero_grad()
    logp = response_logp(model, rollout.tokens, rollout.valid_mask, rollout.response_mask)
    (-(weights * advantages[:, None] * logp).sum()).backward()
    for a, p in zip(mine, model.parameters(), strict=True):
        torch.testing.assert_close(a, p.grad, atol=1e-6, rtol=1e-4)


def test_it_learns_and_the_end_of_a_response_is_learned_too(model):
    def wants(prompts, responses):
        return torch.tensor([float(r[-1] == END) - 0.1 * len(r) for r in responses])

    config = replace(FAST, total_steps=40, group_size=16, learning_rate=1e-2)
    rows = list(grpo.train(model, prompts(), wants, (END,), config))
    assert rows[-1]["reward"] > rows[0]["reward"] + 0.3
    assert rows[-1]["finished"] > 0.9 and rows[-1]["length"] < 2
    assert [row["steps"] for row in rows] == list(range(1, 41))


def test_the_same_seed_gives_the_same_run(model):
    torch.manual_seed(0)
    other = GPT(SMALL)
    a = list(grpo.train(model, prompts(), writes_sevens, (END,), FAST, 5))
    b = list(grpo.train(other, prompts(), writes_sevens, (END,), FAST, 5))
    assert a == b


def test_several_epochs_move_away_from_the_draws(model):
    config = replace(FAST, total_steps=1, learning_rate=1e-2)
    (row,) = grpo.train(model, prompts(), writes_sevens, (END,), config)
    assert row["kl"] == row["clipped"] == 0
    (row,) = grpo.train(model, prompts(), writes_sevens, (END,), replace(config, epochs=4))
    assert row["kl"] > 0


def test_the_reported_kl_is_that_of_ppo():
    logp, old, ref, advantages, mask = drawn()
    weights = grpo.token_weights(mask)
    metrics = grpo.grpo_loss(logp, old, advantages, weights, ref)[1]
    torch.testing.assert_close(metrics["kl"], losses.approx_kl(logp, old)[mask].mean())
    torch.testing.assert_close(metrics["ref_kl"], (weights * (logp - ref)).sum())


def test_adapters_are_off_for_the_reference_and_on_again(model):
    lora.apply(model, lora.Config(rank=2, targets=("qkv", "out")))
    for layer in lora.adapters(model).values():
        layer.b.data.normal_()
    tokens = torch.tensor([[2, 3, 4, 5]])
    adapted = model(tokens)
    with grpo.adapters_off(model):
        torch.testing.assert_close(model(tokens), _plain(model)(tokens))
    torch.testing.assert_close(model(tokens), adapted)
    lora.merge_all(model)
    with pytest.raises(ValueError, match="are merged"), grpo.adapters_off(model):
        pass


def _plain(model):
    weights = {k.replace(".base", ""): v for k, v in model.state_dict().items()}
    plain = GPT(SMALL)
    plain.load_state_dict({k: v for k, v in weights.items() if k in plain.state_dict()})
    return plain


@pytest.mark.parametrize("adapted", [True, False])
def test_the_penalty_holds_the_policy_at_its_reference(adapted):
    rewards = {}
    for beta in (0.0, 1.0):
        torch.manual_seed(0)
        model = GPT(SMALL)
        if adapted:
            model.embedding.weight.data.mul_(20)  # or frozen logits could hardly move
            lora.apply(model, lora.Config(rank=8, alpha=32))
        config = replace(FAST, total_steps=30, group_size=8, learning_rate=2e-2, beta=beta, kl="k2")
        rows = list(grpo.train(model, prompts(), writes_sevens, (END,), config))
        rewards[beta] = np.mean([row["reward"] for row in rows[-5:]])
        assert ("ref_kl" in rows[-1]) == (beta > 0)
    assert rewards[1.0] < rewards[0.0] - 0.2


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("group_size", 1, "group_size must be at least 2"),
        ("scale", "mean", 'scale must be "std" or "none", got \'mean\''),
        ("normalise", "batch", "normalise must be"),
        ("kl", "k4", "kl must be"),
        ("clip", 0.0, "clip must be above 0"),
        ("beta", -1.0, "beta must not be negative"),
        ("epochs", 0, "epochs must be at least 1"),
    ],
)
def test_impossible_settings_are_refused_in_a_sentence(field, value, sentence):
    with pytest.raises(ValueError, match=sentence):
        Config(**{field: value})


def test_it_refuses_what_cannot_learn(model):
    with pytest.raises(ValueError, match="at least one prompt"):
        next(grpo.train(model, [], writes_sevens, (END,), FAST))
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="nothing would learn"):
        next(grpo.train(model, prompts(), writes_sevens, (END,), FAST))
    model.requires_grad_(True).to(torch.bfloat16)
    with pytest.raises(ValueError, match="rounded away"):
        next(grpo.train(model, prompts(), writes_sevens, (END,), FAST))

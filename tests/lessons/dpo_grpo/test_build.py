"""GRPO's loop: each mistake is refused by the probe that isolates it, and right loops pass."""

import numpy as np
import pytest
import torch

from course_lib.classroom.check import check
from course_lib.classroom.edits import Edit, apply
from course_lib.lessons.dpo_grpo.build import EvenGroups, FixedGroups, Pays, learn_from_groups

SEEDS = range(5)
OLD = "policy.detach().log_softmax(dim=1).gather(1, answers)"
VARIANTS = {
    "sets the gradient to zero afterwards": (
        ("optimizer.zero_grad()", "pass"),
        ("optimizer.step()", "optimizer.step(); optimizer.zero_grad()"),
    ),
    "a gradient of None": (("optimizer.zero_grad()", "policy.grad = None"),),
    "double precision": (("logits.clone()", "logits.double()"), ("detach()\n", "detach().float()")),
    "a quotient of probabilities": (
        ("(logp - old_logp).exp()", "logp.exp() / old_logp.exp()"),
    ),
    "old log-probabilities detached last": (
        (OLD, "policy.log_softmax(dim=1).gather(1, answers).detach()"),
    ),
    "the old policy as a table": (
        (OLD, "policy.detach().softmax(-1).gather(-1, answers).log()"),
    ),
    "the logarithm of a softmax": (
        ("= policy.log_softmax(dim=1)", "= policy.softmax(dim=-1).log()"),
    ),
    "a sum divided by the number of answers": (
        ("surrogate).mean()", "surrogate).sum() / answers.numel()"),
    ),
    "two means": (("(beta * kl - surrogate).mean()", "beta * kl.mean() - surrogate.mean()"),),
    "the larger of two losses": (
        (
            "torch.minimum(ratio * advantages, trusted * advantages)",
            "-torch.max(-ratio * advantages, -trusted * advantages)",
        ),
    ),
    "clipped by the sign of the advantage": (
        (
            "torch.minimum(ratio * advantages, trusted * advantages)",
            "torch.where(advantages > 0, ratio.clamp(max=1 + clip), "
            "ratio.clamp(min=1 - clip)) * advantages",
        ),
    ),
    "steps by hand": (
        (
            "optimizer.step()",
            "policy.data -= learning_rate * policy.grad",
        ),
    ),
}  # fmt: skip
# What is changed: the mistake whose hint it gets. None of these is written as the mistake is.
WRONG = {
    "rewards for advantages": ("rewards - rewards.mean(dim=1, keepdim=True)", "rewards - 1"),
    "one baseline for all": (
        "rewards.mean(dim=1, keepdim=True)",
        "rewards.mean(dim=(0, 1), keepdim=True)",
    ),
    "samples from the first policy": ("answers = sample(policy)", "answers = sample(ref_logp)"),
    "the reference follows": (
        "answers = sample(policy)",
        "answers = sample(policy); ref_logp = policy.detach().log_softmax(dim=1)",
    ),
    "a new group for each step": ("for _ in range(epochs)", "for _ in range(1)"),
    "adds up its gradients": ("for _ in range(updates)", "for _ in range(min(1, updates))"),
    "forgets the ratio": (
        "ratio = (logp - old_logp)",
        "old_logp = logp.detach(); ratio = (logp - old_logp)",
    ),
    "never clips": ("ratio.clamp(1 - clip, 1 + clip)", "ratio.clamp(max=1 + clip)"),
}


@pytest.mark.parametrize("seed", SEEDS)
def test_each_mistake_is_refused_by_the_probe_that_isolates_it(seed):
    probes = {p.isolates: p.name for p in learn_from_groups.cases(np.random.default_rng(seed))}
    assert set(probes) == {mistake.name for mistake in learn_from_groups.mistakes}
    for mistake in learn_from_groups.mistakes:
        verdict = check(mistake.function, learn_from_groups, seed)
        assert (verdict.mistake, verdict.case) == (mistake.name, probes[mistake.name])


@pytest.mark.parametrize("mistake", WRONG)
def test_another_way_to_the_same_mistake_gets_its_hint(mistake):
    wrong = apply(learn_from_groups.reference, Edit("wrong", (WRONG[mistake],), ""))
    for seed in SEEDS:
        assert check(wrong, learn_from_groups, seed).mistake == mistake


@pytest.mark.parametrize("name", VARIANTS)
def test_reasonable_variants_are_right(name):
    changed = apply(learn_from_groups.reference, Edit(name, VARIANTS[name], ""))
    for seed in SEEDS:
        verdict = check(changed, learn_from_groups, seed)
        assert verdict.status == "right", verdict.reason


def test_the_samplers_and_the_reward():
    even = EvenGroups(4)(torch.tensor([[0.5, 0.25, 0.25], [0.0, 0.02, 0.98]]).log())
    assert even.tolist() == [[0, 0, 1, 2], [2, 2, 2, 2]]
    assert FixedGroups(((0, 1), (2, 2)))(torch.zeros(2, 3)).tolist() == [[0, 1], [2, 2]]
    assert Pays(((1.0, 2.0),))(torch.tensor([[1, 1, 0]])).tolist() == [[2.0, 2.0, 1.0]]


@pytest.mark.parametrize("seed", SEEDS)
def test_no_probe_stands_on_an_edge(seed):
    """A ratio at the clip or a share at a place in the group would let rounding decide."""
    noise = torch.Generator().manual_seed(seed)
    for probe in learn_from_groups.cases(np.random.default_rng(seed)):
        logits, *others = probe.args
        moved = [logits + 1e-5 * torch.randn(logits.shape, generator=noise) for _ in range(4)]
        found = [learn_from_groups.reference(x, *others) for x in moved]
        assert all((x - probe.expected).abs().max() < 1e-3 for x in found), probe.name

"""Rollouts that are made in other right ways pass; wrong ones that look alike are told why."""

import numpy as np
import pytest
import torch

from course_lib.classroom.check import check
from course_lib.classroom.edits import Edit, apply
from course_lib.lessons.rlhf_ppo.build import collect_rollout
from course_lib.lm.gpt import GPT, GPTConfig
from course_lib.rlhf import rollouts
from course_lib.rlhf.rewards import stops

ALIVE = "alive = alive & (token != end)"
DRAW = "(probabilities.cumsum(dim=1) <= u[:, None]).sum(dim=1)"
END = "tokens, logp, mask, ppo.kl_shaped_rewards(rewards, logp, ref_logp, mask, beta)"
LAST = "policy(tokens, valid)[:, -1]"
LISTS = "[row[keep].tolist() for row, keep in zip(tokens, mask, strict=True)]"
OWN = "policy(tokens, valid) / temperature, tokens, mask"
PAD = "torch.where(alive, token, 0)"
SCORES = "ppo.terminal_rewards(scores, mask)"
SOFT = "logits.softmax(dim=1)"
THEIRS = "reference(tokens, valid) / temperature, tokens, mask"
WRONG = {  # what is changed, and the mistake whose hint it gets
    (DRAW, "torch.multinomial(probabilities, 1)[:, 0]"): "draws its own numbers",
    (OWN, "policy(tokens, valid) / temperature, tokens.roll(1, 1), mask"): (
        "the prompt is in the mask"
    ),
    (DRAW, "torch.topk(probabilities, 1).indices[:, 0]"): "takes the most probable",
    (SOFT, "(logits * temperature).softmax(dim=1)"): "draws before the temperature",
    (PAD, "torch.where(alive, token, end)"): "goes on after the end",
    (PAD, "token"): "goes on after the end",
    (ALIVE, "alive = token != end"): "goes on after the end",
    (OWN, "policy(tokens) / temperature, tokens, mask"): "shows the model the padding",
    (LAST, "policy(tokens, valid.cumsum(1) >= 0)[:, -1]"): "shows the model the padding",
    (LISTS, "tokens.tolist()"): "hands the judge the padding",
    (SCORES, "ppo.terminal_rewards(scores, mask) * (tokens == end)"): "no end, no score",
    (SCORES, "ppo.terminal_rewards(scores, mask & (tokens != end))"): "pays every token",
    (END, END.replace("beta)", "0.0)")): "pays for leaving",
    (END, END.replace("logp, ref_logp, mask", "ref_logp, logp, mask")): "pays for leaving",
    (THEIRS, "reference(tokens, valid), tokens, mask"): "the reference without the temperature",
    (END, END.replace("(rewards", "((beta * rewards)")): "pays every token",
}  # fmt: skip
RIGHT = {
    "by searchsorted": (
        DRAW,
        "torch.searchsorted(probabilities.cumsum(1), u[:, None].contiguous(), right=True)[:, 0]",
    ),
    "the first that is above": (
        DRAW,
        "(probabilities.cumsum(dim=1) > u[:, None]).int().argmax(dim=1)",
    ),
    "in double precision": (SOFT, "logits.double().softmax(dim=1)"),
    "by hand": (SOFT, "logits.exp() / logits.exp().sum(dim=1, keepdim=True)"),
    "a product for the padding": (PAD, "(token * alive)"),
    "where it stood still": (ALIVE, "alive = alive.logical_and(token.ne(end))"),
    "stops early": (
        ("for u in uniform.T:", "for u in uniform.T[: len(uniform.T)]:"),
        (LAST, "(policy(tokens, valid)[:, -1] if alive.any() else torch.zeros(len(u), 8))"),
    ),
    "padding after the end is shown, and read by nobody": (
        "valid = torch.cat([valid, alive[:, None]], dim=1)",
        "valid = torch.cat([valid, torch.ones_like(alive)[:, None]], dim=1)",
    ),
    "the shift in lists": (LISTS, "[[int(t) for t, k in zip(*x) if k] for x in zip(tokens, mask)]"),
    "judges one by one": (
        "reward(prompts, responses)",
        "torch.cat([reward([x], [y]) for x, y in zip(prompts, responses)])",
    ),
    "the price first": (END, END.replace("beta)", "beta).clone()")),
    "a mask of the columns": (
        "mask = torch.zeros_like(valid)",
        "mask = valid & (torch.arange(valid.shape[1]) >= valid.shape[1])",
    ),
}  # fmt: skip


def _changed(*changes):
    return apply(collect_rollout.reference, Edit("changed", changes, ""))


@pytest.mark.parametrize(("change", "mistake"), WRONG.items(), ids=map(str, range(len(WRONG))))
def test_it_is_refused_on_every_seed(change, mistake):
    wrong = _changed(change)
    for seed in range(5):
        assert check(wrong, collect_rollout, seed).mistake == mistake


@pytest.mark.parametrize("name", RIGHT)
def test_other_right_ways_pass(name):
    changes = RIGHT[name]
    right = _changed(*(changes if isinstance(changes[0], tuple) else (changes,)))
    for seed in range(5):
        verdict = check(right, collect_rollout, seed)
        assert verdict.status == "right", verdict


def test_every_probe_but_the_last_isolates_a_mistake():
    probes = collect_rollout.cases(np.random.default_rng(0))
    names = [mistake.name for mistake in collect_rollout.mistakes]
    assert [probe.isolates for probe in probes] == [*names, ""]


def test_it_writes_what_the_library_writes():
    torch.manual_seed(0)
    policy = GPT(GPTConfig(vocab_size=6, context=16, layers=1, width=16, heads=2))
    prompts, end, generator = [[3, 4], [5], [2, 2, 3]], 1, torch.Generator()
    sampling = rollouts.Sampling(max_new_tokens=7, temperature=0.8, stop_tokens=(end,))
    theirs = rollouts.collect(policy, prompts, stops(end), sampling, generator.manual_seed(0))
    generator.manual_seed(0)
    columns = [torch.rand(3, 1, dtype=torch.float64, generator=generator) for _ in range(7)]
    uniform = torch.cat(columns, dim=1).float()
    _, logp, mask, rewards = collect_rollout.reference(
        policy, policy, prompts, stops(end), end, uniform, 0.8, 0.5
    )
    used = theirs.tokens.shape[1]
    assert torch.equal(mask[:, :used], theirs.response_mask)
    assert torch.allclose(logp[:, :used], theirs.logp, atol=1e-5)
    assert torch.equal(rewards.sum(dim=1), theirs.rewards)

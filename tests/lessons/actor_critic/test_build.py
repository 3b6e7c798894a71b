"""Each mistake is refused by the probe that isolates it, and right loops pass."""

import numpy as np
import pytest

from course_lib.classroom.check import check
from course_lib.classroom.edits import Edit, apply
from course_lib.lessons.actor_critic.build import learn_from_batches

SEEDS = range(5)
DRAW = "int(torch.multinomial(policy[state], 1, generator=generator))"
STEP = """slopes = torch.autograd.grad(policy_loss + value_loss, (logits, values))
        with torch.no_grad():
            logits -= policy_rate * slopes[0]
            values -= value_rate * slopes[1]"""
GAE = "gae(rewards, expected, values[next_states], *ends, gamma, lam)"


def changed(*changes):
    return apply(learn_from_batches.reference, Edit("changed", changes, ""))


RIGHT = {
    "draws from the library's stream": ((DRAW, "int(torch.multinomial(policy[state], 1))"),),
    "draws with NumPy": (
        ("generator = torch.Generator().manual_seed(seed)", "rng = np.random.default_rng(seed)"),
        (DRAW, "int((rng.random() < policy[state].double().cumsum(0).numpy()).argmax())"),
    ),
    "a distribution": ((DRAW, "int(torch.distributions.Categorical(policy[state]).sample())"),),
    "the noise of Gumbel": (
        (
            DRAW,
            "int((policy[state].log() - torch.empty(env.action_space.n).exponential_().log())"
            ".argmax())",
        ),
    ),
    "columns for gae": (
        (
            GAE,
            "gae(*(x[:, None] for x in (rewards, expected, values[next_states], *ends)), "
            "gamma, lam)[:, 0]",
        ),
    ),
    "sums, divided by the length": (
        ("-(logp * advantages.detach()).mean()", "-(logp * advantages.detach()).sum() / length"),
        (
            "((expected - targets) ** 2).mean() / 2",
            "(expected - targets).pow(2).sum() / 2 / length",
        ),
    ),
    "no gradient in the advantages": (
        (f"advantages = {GAE}", f"advantages = {GAE}.detach(); expected = values[states]"),
    ),
    "the policy's step after the critic's": (
        (
            STEP,
            "slopes = torch.autograd.grad(value_loss, values)\n"
            "        with torch.no_grad():\n            values -= value_rate * slopes[0]\n"
            "        slopes = torch.autograd.grad(policy_loss, logits)\n"
            "        with torch.no_grad():\n            logits -= policy_rate * slopes[0]",
        ),
    ),
    "an optimiser": (
        (
            "state, _ = env.reset() for",
            "optimizer = torch.optim.SGD([{'params': [logits], 'lr': policy_rate}, "
            "{'params': [values], 'lr': value_rate}]); state, _ = env.reset()\n    for",
        ),
        (
            STEP,
            "optimizer.zero_grad(); (policy_loss + value_loss).backward(); optimizer.step()",
        ),
    ),
    "twice as exact": (
        (
            "env.action_space.n, requires_grad",
            "env.action_space.n, dtype=torch.float64, requires_grad",
        ),
        (
            "values = torch.zeros(env.observation_space.n,",
            "values = torch.zeros(env.observation_space.n, dtype=torch.float64,",
        ),
        (
            "return logits.detach(), values.detach()",
            "return logits.detach().float(), values.detach().float()",
        ),
    ),
    "a seed at every reset": (
        ("truncated: state, _ = env.reset()", "truncated: state, _ = env.reset(seed=seed)"),
    ),
    "a mask of ones": (
        (
            "-(logp * advantages.detach()).mean()",
            "-(logp * advantages.detach() * torch.ones(length)).sum() / torch.ones(length).sum()",
        ),
    ),
}

WRONG = {  # what is changed: the mistake whose hint it gets
    "the critic is left out": (
        ("policy_loss + value_loss", "policy_loss + 0 * value_loss"),
        "forgets the half",
    ),
    "the probability for its logarithm": (("torch.log_softmax", "torch.softmax"), "turns the sign"),
    "a softmax over the states": (
        ("torch.log_softmax(logits, dim=-1)", "torch.log_softmax(logits, dim=0)"),
        "turns the sign",
    ),
    "the advantages of other steps": (
        ("logp * advantages.detach()", "logp * advantages.detach().flip(0)"),
        "multiplies a row by a column",
    ),
    "TD errors for the policy": (
        (
            "logp * advantages.detach()",
            "logp * (rewards + gamma * values[next_states] * ~ends[0] - expected).detach()",
        ),
        "judges an action by its own reward",
    ),
    "never looks ahead": (
        ("values[next_states],", "0 * values[next_states],"),
        "takes the end of a batch for the end of an episode",
    ),
    "no discount": (
        ("*ends, gamma, lam", "*ends, 1.0, lam"),
        "takes the end of a batch for the end of an episode",
    ),
    "even for ever": (
        ("softmax(logits.detach()", "softmax(torch.zeros_like(logits)"),
        "never plays what it learned",
    ),
}


@pytest.mark.parametrize("style", RIGHT)
def test_a_right_loop_passes_on_every_seed(style):
    right = changed(*RIGHT[style])
    for seed in SEEDS:
        verdict = check(right, learn_from_batches, seed)
        assert verdict.status == "right", (seed, verdict)


@pytest.mark.parametrize("title", WRONG)
def test_a_wrong_one_is_refused_on_every_seed(title):
    *changes, mistake = WRONG[title]
    wrong = changed(*changes)
    for seed in SEEDS:
        assert check(wrong, learn_from_batches, seed).mistake == mistake, seed


@pytest.mark.parametrize("mistake", learn_from_batches.mistakes, ids=lambda m: m.name)
def test_a_mistake_is_refused_by_the_probe_that_isolates_it(mistake):
    for seed in SEEDS:
        probes = {p.name: p.isolates for p in learn_from_batches.cases(np.random.default_rng(seed))}
        verdict = check(mistake.function, learn_from_batches, seed)
        assert probes[verdict.case] == mistake.name, seed


def test_every_probe_isolates_a_mistake_and_every_mistake_has_its_probe():
    probes = [probe.isolates for probe in learn_from_batches.cases(np.random.default_rng(0))]
    assert probes == [mistake.name for mistake in learn_from_batches.mistakes]

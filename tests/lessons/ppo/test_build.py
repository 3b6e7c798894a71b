"""Wrong loops that look right get the hint that helps; right ones may be written in many ways."""

import numpy as np
import pytest

from course_lib.classroom.check import check
from course_lib.classroom.edits import Edit, apply
from course_lib.lessons.ppo.build import learn_from_rollout

SEEDS = range(5)
LOGP = "logits.log_softmax(-1)[states[rows], actions[rows]]"
SURROGATE = "losses.clipped_surrogate(ratio, advantages[rows], clip)"
ORDER = "torch.randperm(len(states), generator=generator)"
WRONG = {  # what is changed: the mistake whose hint it gets
    "Adam": ("turns the sign", ("torch.optim.SGD", "torch.optim.Adam")),
    "old log-probabilities with a gradient": (
        "turns the sign",
        ("probability_ratio(logp, old_logp[rows])", "probability_ratio(logp, logp)"),
    ),
    "momentum": ("adds up gradients", ("rate)", "rate, momentum=0.9)")),
    "one minibatch per epoch": ("one step per epoch", ("minibatch_size)", "minibatch_size)[:1]")),
    "divides by the minibatch size": (
        "drops the last minibatch",
        (SURROGATE + ".mean()", SURROGATE + ".sum() / minibatch_size"),
    ),
    "draws each minibatch anew": (
        "draws with replacement",
        (
            "order.split(minibatch_size)",
            "[torch.randperm(len(states))[:len(x)] for x in order.split(minibatch_size)]",
        ),
    ),
    "shuffles the advantages alone": (
        "shuffles the columns apart",
        ("ratio, advantages[rows]", "ratio, advantages[torch.arange(len(rows))]"),
    ),
    "old log-probabilities of each epoch": (
        "computes the old ones anew",
        (
            f"order = {ORDER}",
            f"old_logp = logits.detach().log_softmax(-1)[states, actions]; order = {ORDER}",
        ),
    ),
    "the larger of the two products": (
        "never clips",
        (
            SURROGATE,
            "(-torch.max(ratio * advantages[rows], "
            "ratio.clamp(1 - clip, 1 + clip) * advantages[rows]))",
        ),
    ),
    "k1 against the limit": (
        "ignores the limit",
        ("losses.approx_kl(logp, old_logp[rows])", "(old_logp[rows] - logp)"),
    ),
    "the KL the other way round": (
        "stops one step late",
        ("approx_kl(logp, old_logp[rows])", "approx_kl(old_logp[rows], logp)"),
    ),
}  # fmt: skip
RIGHT = {
    "sorts random numbers": ((ORDER, "torch.rand(len(states), generator=generator).argsort()"),),
    "an order of its own": (
        (ORDER, "torch.as_tensor(np.random.default_rng().permutation(len(states)))"),
    ),
    "slices": (
        (
            "order.split(minibatch_size)",
            "[order[i:i + minibatch_size] for i in range(0, len(order), minibatch_size)]",
        ),
    ),
    "lists of numbers": (
        (
            "order.split(minibatch_size)",
            "torch.utils.data.BatchSampler(order.tolist(), minibatch_size, False)",
        ),
    ),
    "double precision": (("logits.clone()", "logits.double()"),),
    "no gradient kept": (("optimizer.zero_grad()", "logits.grad = None"),),
    "climbs": (
        ("rate)", "rate, maximize=True)"),
        ("loss.backward()", "(-loss).backward()"),
    ),
    "steps by hand": (("optimizer.step()", "logits.data.sub_(rate * logits.grad)"),),
    "torch.distributions": (
        (
            LOGP,
            "torch.distributions.Categorical(logits=logits[states[rows]]).log_prob(actions[rows])",
        ),
    ),
    "cross-entropy": (
        (
            LOGP,
            "-torch.nn.functional.cross_entropy("
            "logits[states[rows]], actions[rows], reduction='none')",
        ),
    ),
    "the larger of two losses": (
        (
            SURROGATE,
            "torch.max(-ratio * advantages[rows], "
            "-ratio.clamp(1 - clip, 1 + clip) * advantages[rows])",
        ),
    ),
    "the KL of the whole rollout": (
        (
            "losses.approx_kl(logp, old_logp[rows])",
            "losses.approx_kl(logits.log_softmax(-1)[states, actions], old_logp)",
        ),
    ),
}


def changed(*changes):
    return apply(learn_from_rollout.reference, Edit("changed", changes, ""))


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_loop_gets_the_hint_that_helps(name):
    mistake, change = WRONG[name]
    for seed in SEEDS:
        assert check(changed(change), learn_from_rollout, seed).mistake == mistake, seed


@pytest.mark.parametrize("mistake", learn_from_rollout.mistakes, ids=lambda known: known.name)
def test_a_mistake_is_refused_by_the_probe_that_isolates_it(mistake):
    for seed in SEEDS:
        probes = {
            probe.isolates: probe.name
            for probe in learn_from_rollout.cases(np.random.default_rng(seed))
        }
        verdict = check(mistake.function, learn_from_rollout, seed)
        assert verdict.case == probes[mistake.name], seed


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_loop_may_be_written_in_many_ways(name):
    for seed in SEEDS:
        verdict = check(changed(*RIGHT[name]), learn_from_rollout, seed)
        assert verdict.status == "right", (seed, verdict)

"""What lesson 09 asks to build: the loop of GRPO, for a policy that is a table of logits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from course_lib.classroom.cases import floats, import_optimizers
from course_lib.classroom.check import Case, Exercise


def _learn_from_groups(
    logits: Tensor,
    sample: Callable[[Tensor], Tensor],
    reward: Callable[[Tensor], Tensor],
    updates: int,
    epochs: int,
    clip: float,
    beta: float,
    learning_rate: float,
) -> Tensor:
    """Return the logits (P, V) that GRPO has after so many updates; it begins with ``logits``.

    Row p holds the policy's logits of V possible answers to prompt p. ``sample`` takes such a table
    and returns a group of answers to each prompt, numbers (P, G); ``reward`` takes the answers and
    returns rewards (P, G). One update is ``epochs`` steps of SGD on the same answers. The loss is a
    mean over all P * G answers: beta times k2 less the clipped surrogate, with advantages that are
    not divided by the deviation. The reference is the policy at the beginning.
    """
    ref_logp = logits.log_softmax(dim=1)
    policy = logits.clone().requires_grad_()
    optimizer = torch.optim.SGD([policy], lr=learning_rate)
    for _ in range(updates):
        answers = sample(policy)
        rewards = reward(answers)
        advantages = rewards - rewards.mean(dim=1, keepdim=True)
        old_logp = policy.detach().log_softmax(dim=1).gather(1, answers)
        for _ in range(epochs):
            logp = policy.log_softmax(dim=1).gather(1, answers)
            ratio = (logp - old_logp).exp()
            trusted = ratio.clamp(1 - clip, 1 + clip)
            surrogate = torch.minimum(ratio * advantages, trusted * advantages)
            kl = (logp - ref_logp.gather(1, answers)) ** 2 / 2
            loss = (beta * kl - surrogate).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return policy.detach()


# --- What the probes are made of: no chance in any of it ----------------------------------------


@dataclass(frozen=True)
class FixedGroups:
    """A sampler that gives the same answers (P, G) each time, whatever the logits are."""

    answers: tuple[tuple[int, ...], ...]

    def __call__(self, logits: Tensor) -> Tensor:
        return torch.tensor(self.answers)


@dataclass(frozen=True)
class EvenGroups:
    """A sampler that gives each answer as many places in a group as its probability deserves."""

    size: int

    def __call__(self, logits: Tensor) -> Tensor:
        shares = torch.as_tensor(logits).detach().double().softmax(dim=1).cumsum(dim=1)
        places = (torch.arange(self.size).double() + 0.5) / self.size
        return torch.searchsorted(shares, places.expand(len(shares), -1).contiguous())


@dataclass(frozen=True)
class Pays:
    """A reward for each answer: ``table[p][v]`` for answer v to prompt p."""

    table: tuple[tuple[float, ...], ...]

    def __call__(self, answers: Tensor) -> Tensor:
        return torch.tensor(self.table).gather(1, torch.as_tensor(answers))


def _by_hand(logits, sample, reward, updates, epochs, clip, beta, learning_rate) -> np.ndarray:
    """The same in double precision, with the gradient written out, one answer after the other."""
    z = np.array(logits.tolist())

    def softmax(row: np.ndarray) -> np.ndarray:
        return np.exp(row) / np.exp(row).sum()

    reference = np.array([softmax(row) for row in z])
    for _ in range(updates):
        answers = sample(torch.tensor(z)).tolist()
        paid = [[reward.table[p][a] for a in row] for p, row in enumerate(answers)]
        old = np.array([softmax(row) for row in z])
        for _ in range(epochs):
            uphill = np.zeros_like(z)
            for p, row in enumerate(answers):
                now = softmax(z[p])
                for a, r in zip(row, paid[p], strict=True):
                    better = r - sum(paid[p]) / len(row)
                    ratio = now[a] / old[p, a]
                    spent = ratio > 1 + clip if better > 0 else ratio < 1 - clip
                    push = 0 if spent else ratio * better
                    push -= beta * np.log(now[a] / reference[p, a])
                    uphill[p] += push * (np.eye(len(now))[a] - now)
            z += learning_rate * uphill / (len(z) * len(answers[0]))
    return z


ROOT = math.sqrt(2)  # two rewards that differ by so much have the deviation 1

# What a probe sets, if it says nothing else: one step for each group, no KL, a clip out of reach.
SETTINGS = {"updates": 1, "epochs": 1, "clip": 9.0, "beta": 0.0, "learning_rate": 1.0}


def _probes(rng: np.random.Generator) -> list[Case]:
    """Small worlds in the order in which they are tried: each adds one thing that can go wrong."""
    import_optimizers()
    level, shift = float(rng.integers(8, 20)) / 4, rng.uniform(-1, 1)  # a tie has an exact mean

    def policy(*chances: float) -> list[float]:
        return [shift + math.log(chance) for chance in chances]

    def pays(*rows: tuple[float, ...]) -> Pays:
        return Pays(tuple(tuple(level + more for more in row) for row in rows))

    even, uneven = policy(1 / 3, 1 / 3, 1 / 3), policy(0.5, 0.3, 0.2)
    often, either = policy(0.9, 0.06, 0.04), policy(0.5, 0.5)
    pair, each = FixedGroups(((0, 1),)), FixedGroups(((0, 1, 2),))
    eight = FixedGroups(((0, 0, 1, 1, 1, 1, 2, 2),))
    both = FixedGroups(((0, 1, 2), (0, 1, 1)))
    tied, one_step = pays((0, 0, 0)), ([uneven], eight, pays((0, 4, 0)))
    unit = ([uneven], pair, pays((ROOT, 0, 0)))
    leash = {"updates": 4, "beta": 1.0, "learning_rate": 0.5}
    pulled = ([even], each, pays((0, 1, -1)))
    rows = [
        # name, the mistake that it isolates, logits, sampler, reward, settings
        ("no update", "returns probabilities", [uneven], pair, tied, {"updates": 0}),
        ("a tied group", "rewards for advantages", [uneven], eight, tied, {}),
        ("one step: how far, roughly", "adds up answers", *one_step, {"atol": 3}),
        ("one step: which way", "climbs down", *one_step, {"atol": 1.5}),
        ("one step: does it move?", "softmax over the prompts", *one_step, {"atol": 0.8}),
        ("one step: exactly", "another optimiser", *unit, {"atol": 1e-3}),
        (
            *("rewards that hardly differ", "divides by the deviation"),
            *([uneven], pair, pays((0.02, 0, 0)), {}),
        ),
        ("three updates", "adds up its gradients", *unit, {"updates": 3}),
        (
            *("two prompts, and one pays more", "one baseline for all"),
            *([uneven, even], both, pays((0, 1, 0), (90, 91, 90)), {}),
        ),
        (
            *("a policy that changes", "samples from the first policy"),
            *([either], EvenGroups(2), pays((0, 1)), {"updates": 4, "learning_rate": 20.0}),
        ),
        ("a KL: which way", "pushes away", *pulled, leash | {"atol": 0.25}),
        ("a KL: does it hold?", "the reference follows", *pulled, leash | {"atol": 0.12}),
        (
            *("a KL, and one answer is likely", "logits for logarithms"),
            *([often], each, pays((0.5, 0, -0.5)), leash | {"atol": 0.02}),
        ),
        (
            *("a KL, far from the reference", "another estimate"),
            *([uneven], each, pays((0, 4, -4)), {"updates": 4, "beta": 1.0}),
        ),
        (
            *("two steps with one group, roughly", "a new group for each step"),
            *([either], EvenGroups(2), pays((0, 2.8)), {"epochs": 2, "atol": 0.35}),
        ),
        (
            *("two steps with one group, exactly", "forgets the ratio"),
            *([uneven], each, pays((0, 1, -1)), {"epochs": 2}),
        ),
        (
            *("twenty steps with one group", "never clips", [uneven], each, pays((0, 1, -1))),
            {"epochs": 20, "clip": 0.2, "learning_rate": 0.1},
        ),
        (
            *("a good answer that lost", "clips without the minimum", [uneven], each),
            *(pays((2.5, 4, -2)), {"epochs": 2, "clip": 0.2, "learning_rate": 3.0}),
        ),
    ]
    cases = []
    for name, isolates, logits, sample, reward, changed in rows:
        settings = SETTINGS | changed
        atol = settings.pop("atol", 1e-4)
        args = (floats(logits), sample, reward, *settings.values())
        cases.append(Case(name, args, floats(_by_hand(*args)), atol=atol, isolates=isolates))
    return cases


learn_from_groups = Exercise(
    reference=_learn_from_groups,
    cases=_probes,
    seconds=8.0,
    edits="""
    returns probabilities: `return policy.detach()` becomes
        `return policy.detach().softmax(dim=1)`. No update is asked for, so the logits that you were
        given have to come back. Begin with a copy of `logits`, and return logits: no
        probabilities, no logarithms of them.

    rewards for advantages: `rewards - rewards.mean(dim=1, keepdim=True)` becomes `rewards`. All
        answers of this group earn the same, so none is better and no logit may move. Weigh an
        answer by its reward *less the mean of its group*.

    adds up answers: `surrogate).mean()` becomes `surrogate).sum()`. One group of eight, one step,
        and your logits moved several times as far as they should. The loss is the *mean* over all
        P * G answers.

    climbs down: `(beta * kl - surrogate)` becomes `(beta * kl + surrogate)`. One answer is paid
        better than the others, and in your policy it became less probable. The optimiser makes the
        loss small: what ought to grow needs a minus. (A ratio of old over new turns it round, too.)

    softmax over the prompts: `logp = policy.log_softmax(dim=1)` becomes
        `logp = policy.log_softmax(dim=0)`. One step, and your logits hardly moved. There is one
        prompt here: a `log_softmax` over `dim=0` makes every probability 1. A `detach` or `no_grad`
        between logits and loss does the same, and so does an `optimizer.step()` that is missing.

    another optimiser: `torch.optim.SGD` becomes `torch.optim.Adam`. One step whose length is known:
        SGD moves a logit by `learning_rate` times its gradient. Adam moves each by about
        `learning_rate`, however small the gradient is. (If yours is SGD: the mean of a group
        includes the answer itself, and log pi is a logarithm, no probability.)

    divides by the deviation: `rewards - rewards.mean(dim=1, keepdim=True)` becomes
        `(rewards - rewards.mean(dim=1, keepdim=True)) / (rewards.std(dim=1, keepdim=True) + 1e-4)`.
        Two rewards differ by 0.02, so the step has to be tiny. You divided by the deviation of the
        group; here the advantages are undivided.

    adds up its gradients: `optimizer.zero_grad()` goes. Three updates with the same group, and
        each has to move the logits as far as the first. Are there three? Is the old gradient set
        to zero before each `backward()`? Otherwise PyTorch adds the new one to it.

    one baseline for all: `rewards.mean(dim=1, keepdim=True)` becomes `rewards.mean()`. Whatever is
        answered to the second prompt, it pays 90 more. The baseline is the mean of each prompt's
        *own* group, `dim=1`; with one for all, every answer to the second prompt looks good.

    samples from the first policy: `sample(policy)` becomes `sample(logits)`. This policy soon gives
        the better answer every time. Then all groups are tied, and nothing may move any more. Yours
        goes on: take a new group in each update, from the policy as it is *now*.

    pushes away: `(beta * kl - surrogate)` becomes `(-beta * kl - surrogate)`. With a beta of 1 your
        policy goes further than without any KL. The KL ought to stay small, so it stands in the
        loss with a plus. (And it is k2 that is asked for: k1 as a loss pulls nothing back.)

    the reference follows: `(logp - ref_logp.gather(1, answers))` becomes `(logp - old_logp)`. With
        a beta of 1 your policy moves as if nothing held it. Either the loss lacks the KL, or the
        reference moves along: compute `ref_logp` once, before the first update. A policy that is
        compared with itself, or with that of the last update, is never far away.

    logits for logarithms: `logits.log_softmax(dim=1)` becomes `logits`,
        `policy.detach().log_softmax(dim=1)` becomes `policy.detach()`,
        `= policy.log_softmax(dim=1)` becomes `= policy`. Here one answer has the probability 0.9,
        and the pull of the KL is off. A logit is no log-probability: `log_softmax` first, for the
        policy and for the reference. Then the gradient reaches the other logits of the row too. (If
        yours does: the KL is *half* of the square, from the answers that were sampled.)

    another estimate: `(logp - ref_logp.gather(1, answers)) ** 2 / 2` becomes `(ref_logp.gather(1,
        answers) - logp).expm1() + logp - ref_logp.gather(1, answers)`. This policy goes far from
        its reference, and there the estimates of the KL differ. Asked for is k2, `d ** 2 / 2` with
        d = log pi - log ref of the answers that were sampled; its gradient is d times that of
        log pi.

    a new group for each step: `logp = policy.log_softmax(dim=1).gather(1, answers)` becomes
        `answers = sample(policy); rewards = reward(answers); advantages = rewards -
        rewards.mean(dim=1, keepdim=True); old_logp =
        policy.detach().log_softmax(dim=1).gather(1, answers); logp =
        policy.log_softmax(dim=1).gather(1, answers)`. One update with two `epochs`: two steps with
        the *same* answers. Yours takes a new group for the second, which is tied here, or makes one
        step only. Sample once per update, outside the loop over epochs.

    forgets the ratio: `(logp - old_logp).exp()` becomes `(logp - logp.detach()).exp()`. In the
        second step the answers are old: they come from the policy before the first. An answer
        counts by its ratio, `exp(logp - old_logp)`. Either your loss has none, or `old_logp` is
        computed anew in each step. Once per group, before the first step.

    never clips: `ratio.clamp(1 - clip, 1 + clip)` becomes `ratio`. Twenty steps with one group. A
        good answer has to stop at a ratio of 1 + clip, a bad one at 1 - clip, and no logit moves
        much further. Yours goes on, or stops elsewhere.

    clips without the minimum: `torch.minimum(ratio * advantages, trusted * advantages)` becomes
        `trusted * advantages`. A good answer became *less* probable, since a better one took its
        place, and its ratio fell below 1 - clip. It has to be pushed up again, and a clipped ratio
        has no gradient: take the smaller of ratio * A and clipped ratio * A.
    """,
    hints=(
        "Two loops: one over the updates, in it one over the epochs. Before both: a copy of the "
        "logits with `requires_grad_()`, its `torch.optim.SGD`, and the log-probabilities of the "
        "reference. Between them: answers, rewards, advantages, and `old_logp`.",
        "`policy.log_softmax(dim=1).gather(1, answers)` is log pi of the answers, (P, G); with "
        "`.detach()` it can be kept as `old_logp`. In the notebook "
        '`group_advantages(rewards, "none")` and `kl_estimate(logp, ref_logp, "k2")` are yours.',
        "The loss is the mean of `beta * kl - torch.minimum(ratio * advantages, "
        "ratio.clamp(1 - clip, 1 + clip) * advantages)`, with `ratio = (logp - old_logp).exp()`. "
        "Then `zero_grad`, `backward`, `step`.",
    ),
)

"""Exercises of lesson 03: how good an action was, and the loss that makes good ones likelier."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from course_lib.classroom.check import Case, Exercise, Mistake
from course_lib.rl import actor_critic, returns


def _normal(rng: np.random.Generator, *shape: int) -> Tensor:
    return torch.tensor(rng.normal(size=shape), dtype=torch.float32)


# --- What an action can still change -----------------------------------------------------------


def _to_go_cases(rng: np.random.Generator) -> list[Case]:
    hand = [
        Case(
            "three rewards",
            (torch.tensor([1.0, 2.0, 4.0]), 0.5),
            torch.tensor([3.0, 4.0, 4.0]),  # 1 + 2/2 + 4/4, 2 + 4/2, 4
        ),
        Case("no discount", (torch.tensor([1.0, 1.0, 1.0]), 1.0), torch.tensor([3.0, 2.0, 1.0])),
        Case(
            "two episodes, the second one shorter",
            (torch.tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 0.0]]), 0.5),
            torch.tensor([[1.75, 1.0], [1.5, 0.0], [1.0, 0.0]]),
        ),
    ]
    # Ground truth as the double sum of the definition.
    rewards, gamma = _normal(rng, 5, 3), float(rng.uniform(0.5, 0.95))
    expected = [
        [sum(gamma ** (k - t) * rewards[k, i].item() for k in range(t, 5)) for i in range(3)]
        for t in range(5)
    ]
    return [*hand, Case("random rewards", (rewards, gamma), torch.tensor(expected))]


def _powers(rewards: Tensor, gamma: float) -> Tensor:
    powers = gamma ** torch.arange(len(rewards), dtype=rewards.dtype)
    return powers.reshape(-1, *[1] * (rewards.ndim - 1))


def _backwards_sum(x: Tensor) -> Tensor:
    return x.flip(0).cumsum(0).flip(0)


def _sums_up_the_past(rewards: Tensor, gamma: float) -> Tensor:
    totals, total = torch.empty_like(rewards), torch.zeros_like(rewards[0])
    for t in range(len(rewards)):
        total = rewards[t] + gamma * total
        totals[t] = total
    return totals


return_to_go = Exercise(
    reference=actor_critic.return_to_go,
    cases=_to_go_cases,
    mistakes=(
        Mistake(
            "the whole return at every step",
            lambda rewards, gamma: (
                (_powers(rewards, gamma) * rewards).sum(0).expand_as(rewards).clone()
            ),
            "You gave every step the return of the whole episode. An action cannot change what "
            "was paid before it: from step t on, only the rewards from t on count.",
        ),
        Mistake(
            "discounts from the start of the episode",
            lambda rewards, gamma: _backwards_sum(_powers(rewards, gamma) * rewards),
            "You discounted from the start of the episode, so late steps hardly count. Each step "
            "discounts from itself: its own reward counts in full.",
        ),
        Mistake(
            "sums up the past",
            _sums_up_the_past,
            "You summed up the rewards *before* each step. Start at the last step and walk "
            "backwards.",
        ),
        Mistake(
            "leaves out the step's own reward",
            lambda rewards, gamma: (
                _backwards_sum(_powers(rewards, gamma) * rewards) / _powers(rewards, gamma)
                - rewards
            ),
            "You left out the reward of the step itself, and it is the first thing that an action "
            "brings about.",
        ),
        Mistake(
            "forgets the discount",
            lambda rewards, gamma: _backwards_sum(rewards),
            "A reward k steps later counts `gamma**k` times. You counted all of them in full.",
        ),
    ),
    hints=(
        "The return of the last step is its own reward. What is the return of the step before?",
        "G_t = r_t + gamma * G_(t+1): keep one running total and go through time backwards.",
        "`for t in reversed(range(len(rewards))): total = rewards[t] + gamma * total; "
        "totals[t] = total`, with `totals = torch.empty_like(rewards)`",
    ),
)


# --- The loss of REINFORCE ---------------------------------------------------------------------


def _loss_cases(rng: np.random.Generator) -> list[Case]:
    half, quarter = math.log(0.5), math.log(0.25)
    hand = [
        Case(
            "one action that went well",
            (torch.tensor([half]), torch.tensor([2.0]), torch.tensor([1.0])),
            torch.tensor(-2 * half),
        ),
        Case(
            "one good, one bad",
            (torch.tensor([half, quarter]), torch.tensor([2.0, -1.0]), torch.tensor([1.0, 1.0])),
            torch.tensor(-(2 * half - quarter) / 2),
        ),
        Case(
            "the last row belongs to no episode",
            (
                torch.tensor([half, quarter, -9.0]),
                torch.tensor([1.0, 3.0, 99.0]),
                torch.tensor([1.0, 1.0, 0.0]),
            ),
            torch.tensor(-(half + 3 * quarter) / 2),
        ),
    ]
    logp, advantages = -_normal(rng, 4, 3).abs() - 0.1, _normal(rng, 4, 3)
    mask = torch.ones(4, 3)
    mask[2:, 1] = 0.0
    mask[int(rng.integers(1, 4)) :, 2] = 0.0
    total, count = 0.0, 0
    for t in range(4):
        for i in range(3):
            if mask[t, i] == 1:
                total += logp[t, i].item() * advantages[t, i].item()
                count += 1
    drawn = Case("random episodes", (logp, advantages, mask), torch.tensor(-total / count))
    return [*hand, drawn]


policy_gradient_loss = Exercise(
    reference=actor_critic.policy_gradient_loss,
    cases=_loss_cases,
    mistakes=(
        Mistake(
            "turns the sign",
            lambda logp, advantages, mask: (logp * advantages * mask).sum() / mask.sum(),
            "Your sign is turned. An optimiser goes *down* the loss, and you want to go *up* the "
            "return: put a minus in front. As it stands, good actions become rarer.",
        ),
        Mistake(
            "ignores the mask",
            lambda logp, advantages, mask: -(logp * advantages).mean(),
            "Rows whose mask is 0 belong to no episode, yet they count in your loss. Multiply by "
            "the mask, and divide by the number of rows that it keeps.",
        ),
        Mistake(
            "divides by all rows",
            lambda logp, advantages, mask: -(logp * advantages * mask).mean(),
            "You left the masked rows out of the sum but counted them in the mean. Divide by "
            "`mask.sum()`.",
        ),
        Mistake(
            "sums instead of averaging",
            lambda logp, advantages, mask: -(logp * advantages * mask).sum(),
            "You took the sum. Longer episodes would then make longer steps: divide by the number "
            "of rows that count.",
        ),
        Mistake(
            "uses the probability",
            lambda logp, advantages, mask: -(logp.exp() * advantages * mask).sum() / mask.sum(),
            "You used the probability instead of its logarithm. A frequent action is drawn more "
            "often *and* would weigh more; the logarithm makes up for the first.",
        ),
        Mistake(
            "averages the factors apart",
            lambda logp, advantages, mask: (
                -((logp * mask).sum() / mask.sum()) * ((advantages * mask).sum() / mask.sum())
            ),
            "You averaged the two factors apart from each other, so that no action knows how *it* "
            "went. Multiply row by row first, then average.",
        ),
    ),
    hints=(
        "Multiply each log-probability by its advantage. Which sign makes descent go uphill?",
        "Rows with mask 0 belong in neither the sum nor the count.",
        "`-(logp * advantages * mask).sum() / mask.sum()`",
    ),
)


# --- A baseline from the other episodes --------------------------------------------------------


def _leave_one_out_cases(rng: np.random.Generator) -> list[Case]:
    hand = [
        Case("two episodes", (torch.tensor([[5.0, 1.0]]),), torch.tensor([[4.0, -4.0]])),
        Case(
            "three episodes",
            (torch.tensor([[6.0, 3.0, 0.0]]),),
            torch.tensor([[4.5, 0.0, -4.5]]),
        ),
        Case(
            "two times, and one episode is over",
            (torch.tensor([[3.0, 2.0, 1.0], [2.0, 1.0, 0.0]]),),
            torch.tensor([[1.5, 0.0, -1.5], [1.5, 0.0, -1.5]]),
        ),
    ]
    totals = _normal(rng, 3, 5) + 3
    expected = [
        [row[i] - sum(other for j, other in enumerate(row) if j != i) / 4 for i in range(len(row))]
        for row in totals.tolist()
    ]
    return [*hand, Case("random returns", (totals,), torch.tensor(expected))]


def _of_the_others(totals: Tensor) -> Tensor:
    return (totals.sum(1, keepdim=True) - totals) / (totals.shape[1] - 1)


leave_one_out = Exercise(
    reference=actor_critic.leave_one_out,
    cases=_leave_one_out_cases,
    mistakes=(
        Mistake(
            "keeps its own return in the mean",
            lambda totals: totals - totals.mean(1, keepdim=True),
            "Your mean includes the episode's own return, which its own actions did change. All "
            "your advantages are too small by the factor (N - 1) / N. Average the *others*.",
        ),
        Mistake(
            "divides by the baseline",
            lambda totals: totals / _of_the_others(totals),
            "You divided by the baseline. Only subtracting leaves the mean gradient as it was: "
            "what is subtracted averages out to 0, what is divided does not.",
        ),
        Mistake(
            "turns the sign",
            lambda totals: _of_the_others(totals) - totals,
            "Your sign is turned: an episode that did better than the others must get a positive "
            "advantage.",
        ),
        Mistake(
            "averages over time",
            lambda totals: totals - totals.mean(0, keepdim=True),
            "You averaged over time, along the first axis. That mean holds the episode's own "
            "returns only. The episodes lie along the second axis, `dim=1`.",
        ),
        Mistake(
            "returns the baseline",
            _of_the_others,
            "You returned the baseline itself. The advantage is what an episode got *minus* that.",
        ),
        Mistake(
            "sums the others",
            lambda totals: totals - (totals.sum(1, keepdim=True) - totals),
            "You subtracted the sum of the other returns. Divide it by their number, N - 1.",
        ),
    ),
    hints=(
        "The sum of the others is the sum of all minus the own one: one line, no loop.",
        "`totals.sum(1, keepdim=True) - totals` has shape (T, N). How many others are there?",
        "`totals - (totals.sum(1, keepdim=True) - totals) / (totals.shape[1] - 1)`",
    ),
)


# --- Generalised advantage estimation ----------------------------------------------------------


def _column(*numbers: float) -> Tensor:
    return torch.tensor(numbers)[:, None]


def _flags(*places: int, length: int = 3) -> Tensor:
    return torch.tensor([[t in places] for t in range(length)])


def _gae_cases(rng: np.random.Generator) -> list[Case]:
    rewards, values, following = (
        _column(1.0, 2.0, 3.0),
        _column(2.0, 4.0, 6.0),
        _column(4.0, 8.0, 10.0),
    )
    # gamma 0.5 makes the surprises 1 + 2 - 2 = 1, 2 + 4 - 4 = 2, 3 + 5 - 6 = 2; the trace keeps a
    # quarter per step.
    data = (rewards, values, following)
    hand = [
        Case("no end", (*data, _flags(), _flags(), 0.5, 0.5), _column(1.625, 2.5, 2.0)),
        Case(
            "the second step terminates",
            (*data, _flags(1), _flags(), 0.5, 0.5),
            _column(0.5, -2.0, 2.0),
        ),
        Case(
            "the second step is truncated",
            (*data, _flags(), _flags(1), 0.5, 0.5),
            _column(1.5, 2.0, 2.0),
        ),
        Case("lambda 0", (*data, _flags(), _flags(), 0.5, 0.0), _column(1.0, 2.0, 2.0)),
    ]
    # Ground truth as the double sum of the definition, up to the episode's end.
    length, width = 6, 3
    rewards, values, following = (_normal(rng, length, width) for _ in range(3))
    terminated, truncated = torch.zeros(2, length, width, dtype=torch.bool)
    terminated[int(rng.integers(1, 4)), 0] = True
    truncated[int(rng.integers(1, 4)), 1] = True
    gamma, lam = float(rng.uniform(0.8, 0.95)), float(rng.uniform(0.4, 0.7))
    expected = torch.zeros(length, width)
    for i in range(width):
        for t in range(length):
            total, weight = 0.0, 1.0
            for k in range(t, length):
                later = 0.0 if terminated[k, i] else following[k, i].item()
                total += weight * (rewards[k, i].item() + gamma * later - values[k, i].item())
                weight *= gamma * lam
                if terminated[k, i] or truncated[k, i]:
                    break
            expected[t, i] = total
    drawn = (rewards, values, following, terminated, truncated, gamma, lam)
    return [*hand, Case("random experience", drawn, expected)]


def _wrong_gae(
    future: str = "alive",
    trace: str = "going on",
    decay: str = "both",
    forwards: bool = False,
    own_next: bool = False,
    targets: bool = False,
):
    """GAE with one of its parts exchanged."""

    def estimate(rewards, values, next_values, terminated, truncated, gamma, lam):
        alive, ended = 1 - terminated.float(), terminated | truncated
        keeps = {"alive": alive, "going on": 1 - ended.float(), "always": torch.ones_like(alive)}
        if own_next:
            next_values = torch.cat([values[1:], next_values[-1:]])
        deltas = rewards + gamma * next_values * keeps[future] - values
        rate = {"both": gamma * lam, "lambda": lam, "gamma": gamma}[decay]
        advantages, running = torch.empty_like(deltas), torch.zeros_like(deltas[0])
        order = range(len(deltas)) if forwards else reversed(range(len(deltas)))
        for t in order:
            running = deltas[t] + rate * keeps[trace][t] * running
            advantages[t] = running
        return advantages + values if targets else advantages

    return estimate


gae = Exercise(
    reference=returns.gae,
    cases=_gae_cases,
    mistakes=(
        Mistake(
            "bootstraps through termination",
            _wrong_gae(future="always"),
            "You added a future after a termination. Nothing comes after it: multiply "
            "`next_values` by `1 - terminated`.",
        ),
        Mistake(
            "treats truncation as termination",
            _wrong_gae(future="going on"),
            "You took the future away at a truncation, too. Only the clock ran out there: in the "
            "surprise, `next_values` counts unless the task *terminated*.",
        ),
        Mistake(
            "lets the trace run through a truncation",
            _wrong_gae(trace="alive"),
            "Your trace runs on through a truncation. The next row belongs to another episode, "
            "so cut the trace where either flag is set.",
        ),
        Mistake(
            "never cuts the trace",
            _wrong_gae(trace="always"),
            "Your trace never ends, so the surprises of the next episode leak into this one. Cut "
            "it where the episode terminated or was truncated.",
        ),
        Mistake(
            "takes the next row's value",
            _wrong_gae(own_next=True),
            "You took `values` of the next row for what a step led to. `next_values` is given "
            "because the two differ: the next row may belong to another episode.",
        ),
        Mistake(
            "forgets lambda",
            _wrong_gae(decay="gamma"),
            "Your trace fades by `gamma` alone. Each step further counts `gamma * lam` times.",
        ),
        Mistake(
            "forgets gamma in the trace",
            _wrong_gae(decay="lambda"),
            "Your trace fades by `lam` alone. Each step further counts `gamma * lam` times.",
        ),
        Mistake(
            "sums up the past",
            _wrong_gae(forwards=True),
            "You summed the surprises *before* each step. An action is judged by what follows: "
            "walk backwards through time.",
        ),
        Mistake(
            "returns the targets",
            _wrong_gae(targets=True),
            "You returned the advantages plus the values. Those are the targets that the values "
            "learn from; the advantages are asked for.",
        ),
    ),
    hints=(
        "First the surprises, one per row: "
        "`delta = reward + gamma * next_value * (1 - terminated) - value`.",
        "Then backwards through time: `trace = delta[t] + gamma * lam * going_on[t] * trace`, "
        "where `going_on` is 0 at either kind of end.",
        "`going_on = 1 - (terminated | truncated).to(rewards.dtype)`; start with "
        "`trace = torch.zeros_like(rewards[0])`, and store it in `advantages[t]` at each step.",
    ),
)


# --- Entropy -----------------------------------------------------------------------------------


def _entropy_cases(rng: np.random.Generator) -> list[Case]:
    by_hand = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    hand = [
        Case("an even choice of two", (torch.zeros(1, 2),), torch.tensor([math.log(2)])),
        Case(
            "three to one, not normalised",
            (torch.tensor([[math.log(3) + 5, 5.0]]),),
            torch.tensor([by_hand]),
        ),
        Case(
            "a certain choice and an even one",
            (torch.tensor([[200.0, 0.0], [200.0, 200.0]]),),
            torch.tensor([0.0, math.log(2)]),
        ),
    ]
    logits = 2 * _normal(rng, 3, 2, 4)
    expected = torch.zeros(3, 2)
    for i in range(3):
        for j in range(2):
            weights = [math.exp(x) for x in logits[i, j].tolist()]
            for weight in weights:
                share = weight / sum(weights)
                expected[i, j] -= share * math.log(share)
    return [*hand, Case("random choices among four", (logits,), expected)]


def _entropies(logits: Tensor) -> Tensor:
    logp = torch.log_softmax(logits, -1)
    return -(logp.exp() * logp).sum(-1)


def _of_softmax(logits: Tensor) -> Tensor:
    p = torch.softmax(logits, -1)
    return -(p * torch.log(p)).sum(-1)


def _along_rows(logits: Tensor) -> Tensor:
    logp = torch.log_softmax(logits, 0)
    return -(logp.exp() * logp).sum(-1)


entropy_bonus = Exercise(
    reference=actor_critic.entropy_bonus,
    cases=_entropy_cases,
    mistakes=(
        Mistake(
            "turns the sign",
            lambda logits: -_entropies(logits),
            "Your entropy is negative. A logarithm of a probability is never positive, so the "
            "sum needs a minus in front. Turned, the bonus would *punish* variety.",
        ),
        Mistake(
            "averages over the actions",
            lambda logits: _entropies(logits) / logits.shape[-1],
            "You took the mean over the actions. The probabilities are the weights of this mean "
            "already: take the sum.",
        ),
        Mistake(
            "does not normalise",
            lambda logits: -(logits.exp() * logits).sum(-1),
            "You took the logits for log-probabilities. They may be shifted by any number: "
            "`torch.log_softmax(logits, dim=-1)` normalises them.",
        ),
        Mistake(
            "takes the logarithm of zero",
            _of_softmax,
            "For a certain choice you get NaN: a probability is rounded to 0, and 0 times its "
            "logarithm is not a number. Get the logarithms from `torch.log_softmax` instead.",
        ),
        Mistake(
            "normalises along the rows",
            _along_rows,
            "You normalised along the first axis, across different states. The actions lie along "
            "the last one: `dim=-1`.",
        ),
        Mistake(
            "one number for all rows",
            lambda logits: _entropies(logits).mean(),
            "You averaged over all rows. Return one entropy per row; rows that are masked have to "
            "be left out later.",
        ),
    ),
    hints=(
        "Entropy is the mean of -log p over the actions that the policy would draw.",
        "`torch.log_softmax(logits, dim=-1)` gives all log p; their exponentials are the weights.",
        "`logp = torch.log_softmax(logits, dim=-1)`, then `-(logp.exp() * logp).sum(-1)`",
    ),
)

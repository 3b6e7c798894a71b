"""Exercises of lesson 03: how good an action was, and the loss that makes good ones likelier."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, tensor

from course_lib.classroom.check import Case, Exercise
from course_lib.lessons.actor_critic import build
from course_lib.rl import actor_critic, returns


def _normal(rng: np.random.Generator, *shape: int) -> Tensor:
    return tensor(rng.normal(size=shape), dtype=torch.float32)


def _to_go_cases(rng: np.random.Generator) -> list[Case]:
    two = tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    # Ground truth as the double sum of the definition.
    rewards, gamma = _normal(rng, 5, 3), float(rng.uniform(0.5, 0.95))
    expected = torch.zeros(5, 3)
    for t in range(5):
        expected[t] = sum(gamma ** (k - t) * rewards[k] for k in range(t, 5))
    return [
        # 1 + 2/2 + 4/4, 2 + 4/2, 4
        Case("three rewards", (tensor([1.0, 2.0, 4.0]), 0.5), tensor([3.0, 4.0, 4.0])),
        Case("no discount", (tensor([1.0, 1.0, 1.0]), 1.0), tensor([3.0, 2.0, 1.0])),
        Case("a reward that comes late", (tensor([0.0, 0.0, 1.0]), 0.5), tensor([0.25, 0.5, 1.0])),
        Case("one step", (tensor([3.0]), 0.5), tensor([3.0])),
        Case(
            "two episodes, the second one shorter",
            (two, 0.5),
            tensor([[1.75, 1.0], [1.5, 0.0], [1.0, 0.0]]),
        ),
        Case("random rewards", (rewards, gamma), expected),
    ]


return_to_go = Exercise(
    reference=actor_critic.return_to_go,
    cases=_to_go_cases,
    edits="""
        the whole return at every step: `return totals` becomes `return
            totals[:1].expand_as(totals).clone()`. You gave every step the return of the whole
            episode. An action cannot change what was paid before it: from step t on, only the
            rewards from t on count.

        discounts from the start of the episode: `totals[t] = following` becomes
            `totals[t] = gamma**t * following`. You discounted from the start of the episode, so
            late steps hardly count. Each step discounts from itself: its own reward counts in full.

        sums up the past: `reversed(range(len(rewards)))` becomes `range(len(rewards))`. You summed
            up the rewards *before* each step. Start at the last step and walk backwards.

        leaves out the step's own reward: `totals[t] = following` becomes
            `totals[t] = following - rewards[t]`. You left out the reward of the step itself, and it
            is the first thing that an action brings about.

        forgets the discount: `gamma * following` becomes `following`. A reward k steps later counts
            `gamma**k` times. You counted all of them in full.

        in reverse order: `return totals` becomes `return totals.flip(0)`. Your returns are in
            reverse order. A list that is filled backwards has to be turned round at the end; or
            write each return to its own place, `totals[t]`.
    """,
    hints=(
        "The return of the last step is its own reward. What is the return of the step before?",
        "G_t = r_t + gamma * G_(t+1): keep one running total and go through time backwards.",
        "`for t in reversed(range(len(rewards))): total = rewards[t] + gamma * total; "
        "totals[t] = total`, with `totals = torch.empty_like(rewards)`",
    ),
)


def _loss_cases(rng: np.random.Generator) -> list[Case]:
    half, quarter = math.log(0.5), math.log(0.25)
    logp, advantages = -_normal(rng, 4, 3).abs() - 0.1, _normal(rng, 4, 3)
    mask = torch.ones(4, 3)
    mask[2:, 1] = 0.0
    mask[int(rng.integers(1, 4)) :, 2] = 0.0
    terms = [logp[i] * advantages[i] for i in np.ndindex(4, 3) if mask[i] == 1]  # row by row
    return [
        Case(
            "one action that went well",
            (tensor([half]), tensor([2.0]), tensor([1.0])),
            tensor(-2 * half),
        ),
        Case(
            "one good, one bad",
            (tensor([half, quarter]), tensor([2.0, -1.0]), tensor([1.0, 1.0])),
            tensor(-(2 * half - quarter) / 2),
        ),
        Case(
            "the last row belongs to no episode",
            (tensor([half, quarter, -9.0]), tensor([1.0, 3.0, 99.0]), tensor([1.0, 1.0, 0.0])),
            tensor(-(half + 3 * quarter) / 2),
        ),
        Case("random episodes", (logp, advantages, mask), -sum(terms) / len(terms)),
    ]


policy_gradient_loss = Exercise(
    reference=actor_critic.policy_gradient_loss,
    differentiated="logp advantages",
    cases=_loss_cases,
    edits="""
        turns the sign: `return -(` becomes `return (`. Your sign is turned. An optimiser goes
            *down* the loss, and you want to go *up* the return: put a minus in front. As it stands,
            good actions become rarer.

        ignores the mask: `.detach() * mask).sum() / mask.sum()` becomes `).mean()`. Rows whose mask
            is 0 belong to no episode, yet they count in your loss. Multiply by the mask, and divide
            by the number of rows that it keeps.

        averages each episode first: `(logp * advantages.detach() * mask).sum() / mask.sum()`
            becomes `((logp * advantages.detach() * mask).sum(0) / mask.sum(0)).mean()`. You took
            the mean of each episode, then the mean of those. A step of a short episode weighs more
            that way: divide the sum over all steps by the number of all steps that count.

        divides by all rows: `.sum() / mask.sum()` becomes `.mean()`. You left the masked rows out
            of the sum but counted them in the mean. Divide by `mask.sum()`.

        sums instead of averaging: ` / mask.sum()` goes. You took the sum. Longer episodes would
            then make longer steps: divide by the number of rows that count.

        uses the probability: `(logp *` becomes `(logp.exp() *`. You used the probability instead of
            its logarithm. A frequent action is drawn more often *and* would weigh more; the
            logarithm makes up for the first.

        averages the factors apart: `(logp * advantages.detach() * mask).sum() / mask.sum()` becomes
            `(logp * mask).sum() * (advantages * mask).sum() / mask.sum() ** 2`. You averaged the
            two factors apart from each other, so that no action knows how *it* went. Multiply row
            by row first, then average.

        no gradient of the policy: `(logp * advantages` becomes `(logp.detach() * advantages`. The
            number is right, but no gradient reaches the policy, and training would change nothing:
            `logp` was detached on the way, or turned into plain numbers (`.item()`, `.tolist()`,
            NumPy, `no_grad`). It is the *advantages* that count as data.

        lets a gradient through the advantages: `.detach()` goes. The number is right, but a
            gradient flows back through `advantages`. They may be made of the critic's values, and
            this loss would pull at those: take `advantages.detach()`.
    """,
    hints=(
        "Multiply each log-probability by its advantage. Which sign makes descent go uphill?",
        "Rows with mask 0 belong in neither the sum nor the count.",
        "`-(logp * advantages.detach() * mask).sum() / mask.sum()`",
    ),
)


def _leave_one_out_cases(rng: np.random.Generator) -> list[Case]:
    totals = _normal(rng, 3, 5) + 3
    expected = torch.zeros(3, 5)
    for t, i in np.ndindex(3, 5):
        expected[t, i] = totals[t, i] - sum(totals[t, j] for j in range(5) if j != i) / 4
    return [
        Case(
            "two times, three episodes, one of them over",
            (tensor([[3.0, 2.0, 1.0], [2.0, 1.0, 0.0]]),),
            tensor([[1.5, 0.0, -1.5], [1.5, 0.0, -1.5]]),
        ),
        Case("two episodes", (tensor([[5.0, 1.0]]),), tensor([[4.0, -4.0]])),
        Case("three episodes", (tensor([[6.0, 3.0, 0.0]]),), tensor([[4.5, 0.0, -4.5]])),
        Case("random returns", (totals,), expected),
    ]


leave_one_out = Exercise(
    reference=actor_critic.leave_one_out,
    cases=_leave_one_out_cases,
    edits="""
        keeps its own return in the mean: `return totals - others` becomes
            `return totals - totals.mean(1, keepdim=True)`. Your mean includes the episode's own
            return, which its own actions did change. All your advantages are too small by the
            factor (N - 1) / N. Average the *others*.

        divides by the baseline: `totals - others` becomes `totals / others`. You divided by the
            baseline. Only subtracting leaves the mean gradient as it was: what is subtracted
            averages out to 0, what is divided does not.

        turns the sign: `totals - others` becomes `others - totals`. Your sign is turned: an episode
            that did better than the others must get a positive advantage.

        averages over time: `return totals - others` becomes
            `return totals - totals.mean(0, keepdim=True)`. You averaged over time, along the first
            axis. That mean holds the episode's own returns only. The episodes lie along the second
            axis, `dim=1`.

        leaves out one time: `(totals.sum(1, keepdim=True) - totals) / (totals.shape[1] - 1)`
            becomes `(totals.sum(0, keepdim=True) - totals) / (totals.shape[0] - 1)`. You left out
            one *time* and averaged the others: these are the episode's own returns. The episodes
            lie along the second axis, `dim=1`, and there are `totals.shape[1]` of them.

        returns the baseline: `totals - others` becomes `others`. You returned the baseline itself.
            The advantage is what an episode got *minus* that.

        divides by the number of all: ` / (totals.shape[1] - 1)` becomes ` / totals.shape[1]`. You
            divided the sum of the others by N, the number of all episodes. There are N - 1 others.

        sums the others: ` / (totals.shape[1] - 1)` goes. You subtracted the sum of the other
            returns. Divide it by their number, N - 1.
    """,
    hints=(
        "The sum of the others is the sum of all minus the own one: one line, no loop.",
        "`totals.sum(1, keepdim=True) - totals` has shape (T, N). How many others are there?",
        "`totals - (totals.sum(1, keepdim=True) - totals) / (totals.shape[1] - 1)`",
    ),
)


def _column(*numbers: float) -> Tensor:
    return tensor(numbers)[:, None]


def _gae_cases(rng: np.random.Generator) -> list[Case]:
    # gamma 0.5 makes the TD errors 1 + 2 - 2 = 1, 2 + 4 - 4 = 2, 3 + 5 - 6 = 2; the trace keeps a
    # quarter per step.
    data = (_column(1.0, 2.0, 3.0), _column(2.0, 4.0, 6.0), _column(4.0, 8.0, 10.0))
    never, second = _column(False, False, False), _column(False, True, False)
    # Ground truth as the double sum of the definition, up to the episode's end.
    length, width = 6, 4
    rewards, values, following = (_normal(rng, length, width) for _ in range(3))
    terminated, truncated = torch.zeros(2, length, width, dtype=torch.bool)
    terminated[int(rng.integers(1, 4)), 0] = True
    truncated[int(rng.integers(1, 4)), 1] = True
    terminated[1, 3] = truncated[1, 3] = terminated[3, 3] = truncated[4, 3] = True
    gamma, lam = float(rng.uniform(0.8, 0.95)), float(rng.uniform(0.4, 0.7))
    expected = torch.zeros(length, width)
    for t, i in np.ndindex(length, width):
        for k in range(t, length):
            later = 0.0 if terminated[k, i] else following[k, i]
            error = rewards[k, i] + gamma * later - values[k, i]
            expected[t, i] += (gamma * lam) ** (k - t) * error
            if terminated[k, i] or truncated[k, i]:
                break
    drawn = (rewards, values, following, terminated, truncated, gamma, lam)
    # Two columns: TD errors 1 and 2, but the first step of the second one terminates, 1 - 2 = -1.
    twice = [x.expand(3, 2)[:2] for x in data]
    ends = tensor([[False, True], [False, False]])
    return [
        Case("no end", (*data, never, never, 0.5, 0.5), _column(1.625, 2.5, 2.0)),
        Case(
            "the second step terminates",
            (*data, second, never, 0.5, 0.5),
            _column(0.5, -2.0, 2.0),
        ),
        Case(
            "the second step is truncated",
            (*data, never, second, 0.5, 0.5),
            _column(1.5, 2.0, 2.0),
        ),
        Case(
            "both flags at the second step",
            (*data, second, second, 0.5, 0.5),
            _column(0.5, -2.0, 2.0),
        ),
        Case(
            "two ends, one after the other",
            (*data, second, _column(True, False, False), 0.5, 0.5),
            _column(1.0, -2.0, 2.0),
        ),
        Case(
            "two environments, one step of the second terminates",
            (*twice, ends, ends & False, 0.5, 0.5),
            tensor([[1.5, -1.0], [2.0, 2.0]]),
        ),
        Case("a single step", (*(x[:1] for x in (*data, never, never)), 0.5, 0.5), _column(1.0)),
        Case("lambda 0", (*data, never, never, 0.5, 0.0), _column(1.0, 2.0, 2.0)),
        Case("random experience", drawn, expected),
    ]


gae = Exercise(
    reference=returns.gae,
    cases=_gae_cases,
    edits="""
        bootstraps through termination: ` * (1 - terminated.to(rewards.dtype))` goes. You added a
            future after a termination. Nothing comes after it: multiply `next_values` by
            `~terminated`.

        treats truncation as termination: `(1 - terminated.to(rewards.dtype))` becomes `going_on`.
            You took the future away at a truncation, too. Only the clock ran out there: in the
            surprise, `next_values` counts unless the task *terminated*.

        lets the trace run through a truncation: ` | truncated` goes. Your trace runs on through a
            truncation. The next row belongs to another episode, so cut the trace where either flag
            is set.

        never cuts the trace: ` * going_on[t]` goes. Your trace never ends, so the surprises of the
            next episode leak into this one. Cut it where the episode terminated or was truncated.

        cuts one row late: `going_on[t]` becomes `(going_on[t - 1] if t > 0 else 1)`. You cut the
            trace one row too late. The end of row t keeps what comes *after* row t out of its
            advantage: use the flags of row t itself.

        cuts after it has stored the row: `gamma * lam * going_on[t] * trace` becomes
            `gamma * lam * trace`, `advantages[t] = trace` becomes
            `advantages[t] = trace; trace = trace * going_on[t]`. You set the trace to 0 after you
            had stored the row of the end. So that row still collects the next episode, and the row
            before it loses its own. Cut first: at an end the trace is `delta[t]` alone.

        reads the next row's flags: `going_on = 1` becomes `terminated, truncated =
            (torch.cat([x[1:], torch.zeros_like(x[:1])]) for x in (terminated, truncated)); going_on
            = 1`. You took the flags of row t + 1 for those of row t. Some programs note an end at
            the row that begins anew; here it stands at the step that ended.

        takes the next row's value: `gamma * next_values` becomes
            `gamma * torch.cat([values[1:], next_values[-1:]])`. You took `values` of the next row
            for what a step led to. `next_values` is given because the two differ: the next row may
            belong to another episode.

        forgets lambda: `gamma * lam` becomes `gamma`. Your trace fades by `gamma` alone. Each step
            further counts `gamma * lam` times.

        forgets gamma in the trace: `gamma * lam` becomes `lam`. Your trace fades by `lam` alone.
            Each step further counts `gamma * lam` times.

        sums up the past: `reversed(range(len(deltas)))` becomes `range(len(deltas))`. You summed
            the surprises *before* each step. An action is judged by what follows: walk backwards
            through time.

        returns the targets: `return advantages` becomes `return advantages + values`. You returned
            the advantages plus the values. Those are the targets that the values learn from; the
            advantages are asked for.

        in reverse order: `return advantages` becomes `return advantages.flip(0)`. Your advantages
            are in reverse order. A list that is filled backwards has to be turned round at the end;
            or write each one to its own place, `advantages[t]`.
    """,
    hints=(
        "First the surprises, one per row: "
        "`delta = reward + gamma * next_value * ~terminated - value`.",
        "Then backwards through time: `trace = delta[t] + gamma * lam * going_on[t] * trace`, "
        "where `going_on` is 0 at either kind of end.",
        "`going_on = 1 - (terminated | truncated).to(rewards.dtype)`; start with "
        "`trace = torch.zeros_like(rewards[0])`, and store it in `advantages[t]` at each step.",
    ),
)


def _entropy_cases(rng: np.random.Generator) -> list[Case]:
    by_hand = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    logits = 2 * _normal(rng, 3, 2, 4)
    expected = torch.zeros(3, 2)
    for i in np.ndindex(3, 2):
        weights = [math.exp(x) for x in logits[i].tolist()]
        shares = [weight / sum(weights) for weight in weights]
        expected[i] = -sum(share * math.log(share) for share in shares)
    return [
        Case("an even choice of two", (torch.zeros(1, 2),), tensor([math.log(2)])),
        Case(
            "three to one, not normalised", (tensor([[math.log(3) + 5, 5.0]]),), tensor([by_hand])
        ),
        Case(
            "a certain choice and an even one",
            (tensor([[200.0, 0.0], [200.0, 200.0]]),),
            tensor([0.0, math.log(2)]),
        ),
        Case("random choices among four", (logits,), expected),
    ]


entropy_bonus = Exercise(
    reference=actor_critic.entropy_bonus,
    differentiated="logits",
    cases=_entropy_cases,
    edits="""
        turns the sign: `return -(` becomes `return (`. Your entropy is negative. A logarithm of a
            probability is never positive, so the sum needs a minus in front. Turned, the bonus
            would *punish* variety.

        averages over the actions: `.sum(-1)` becomes `.mean(-1)`. You took the mean over the
            actions. The probabilities are the weights of this mean already: take the sum.

        does not normalise: `torch.log_softmax(logits, dim=-1)` becomes `logits`. You took the
            logits for log-probabilities. They may be shifted by any number:
            `torch.log_softmax(logits, dim=-1)` normalises them.

        takes the logarithm of zero: `torch.log_softmax(logits, dim=-1)` becomes
            `torch.softmax(logits, dim=-1).log()`. For a certain choice you get NaN: a probability
            is rounded to 0, and 0 times its logarithm is not a number. Get the logarithms from
            `torch.log_softmax` instead.

        weights the logits: ` * logp)` becomes ` * logits)`. You averaged the logits. They are
            log-probabilities only up to a constant: take the mean of `log_softmax(logits)`.

        normalises along the rows: `dim=-1` becomes `dim=0`. You normalised along the first axis,
            across different states. The actions lie along the last one: `dim=-1`.

        one number for all rows: `.sum(-1)` becomes `.sum(-1).mean()`. You averaged over all rows.
            Return one entropy per row; rows that are masked have to be left out later.
    """,
    hints=(
        "Entropy is the mean of -log p over the actions that the policy would draw.",
        "`torch.log_softmax(logits, dim=-1)` gives all log p; their exponentials are the weights.",
        "`logp = torch.log_softmax(logits, dim=-1)`, then `-(logp.exp() * logp).sum(-1)`",
    ),
)

learn_from_batches = build.learn_from_batches

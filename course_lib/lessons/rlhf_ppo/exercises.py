"""Exercises of lesson 08: four small functions of PPO for text, and a batch made with them."""

from __future__ import annotations

import numpy as np
import torch

from course_lib.classroom.cases import bits, floats
from course_lib.classroom.check import Case, Exercise
from course_lib.lessons.rlhf_ppo import build
from course_lib.rlhf import ppo


def _random_rows(rng: np.random.Generator, rows: int) -> list[str]:
    """Prompts padded on the left, responses on the right; none ends in the last column but one."""
    pictures = ["." * 3 + "x" * 7]
    while len(pictures) < rows:
        before, length = int(rng.integers(1, 4)), int(rng.integers(2, 5))
        pictures.append("." * before + "x" * length + "." * (10 - before - length))
    return pictures


# --- Log-probabilities of tokens ---------------------------------------------------------------


def _logp_cases(rng: np.random.Generator) -> list[Case]:
    # Probabilities whose logarithms are the logits: after each token, those of the tokens 0, 1, 2.
    after = np.log([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [0.2, 0.6, 0.2], [0.3, 0.4, 0.3]])
    tokens = [[1, 0, 2, 1]]
    logits, drawn = rng.normal(size=(3, 10, 5)), rng.integers(5, size=(3, 10))
    pictures, expected = _random_rows(rng, 3), np.zeros((3, 10))
    for i, t in np.ndindex(3, 10):
        if pictures[i][t] == "x":  # one by one, in double precision
            row = logits[i, t - 1]
            expected[i, t] = row[drawn[i, t]] - np.log(np.exp(row).sum())
    second, third, fourth = np.log([0.5, 0.7, 0.6])
    constant = "the same logits plus 5: a constant changes no probability"
    rows = [
        ("a prompt of two, a response of two", [after], tokens, ["..xx"], [[0, 0, third, fourth]]),
        (constant, [after + 5], tokens, [".xx."], [[0, second, third, 0]]),
        ("three random rows", logits, drawn, pictures, expected),
    ]
    return [
        Case(name, (floats(x), torch.as_tensor(t), bits(*mask)), floats(found), atol=1e-5)
        for name, x, t, mask, found in rows
    ]


token_logp = Exercise(
    reference=ppo.token_logp,
    differentiated="logits",
    cases=_logp_cases,
    edits="""
    no shift: `logits[:, :-1].log_softmax` becomes `logits.log_softmax`, `tokens[:, 1:, None]`
        becomes `tokens[..., None]`, `torch.cat([torch.zeros_like(logp[:, :1]), logp], dim=1)`
        becomes `logp`. You read the logits at the token's own position. Those have seen the token
        already and speak of the next one: take the logits at t - 1 for the token at t.

    shifts the wrong way: `logits[:, :-1]` becomes `logits[:, 1:]`, `tokens[:, 1:, None]` becomes
        `tokens[:, :-1, None]`, `[torch.zeros_like(logp[:, :1]), logp]` becomes
        `[logp, torch.zeros_like(logp[:, :1])]`. You read the logits one position *after* the token.
        They know it and its successor. Shift the other way: logits at t - 1 for the token at t.

    one column early: `[torch.zeros_like(logp[:, :1]), logp]` becomes
        `[logp, torch.zeros_like(logp[:, :1])]`. Your numbers stand one column too far left: the
        number of the token at t belongs in column t, where its mask is. Put the column of zeros in
        front, not at the end.

    forgets the mask: `.masked_fill(~response_mask.bool(), 0.0)` goes. Prompt and padding have
        log-probabilities too in your answer. The policy wrote neither: set everything outside
        `response_mask` to 0.

    mask not shifted along: `response_mask.bool()` becomes `response_mask.roll(-1, dims=1)`. Your
        mask is one column early: you shifted it along with the logits. After the shift the number
        of the token at t stands in column t, where its mask stands as well.

    raw logits: `.log_softmax(dim=-1)` goes. These are logits, not log-probabilities: they do not
        sum to 1 after `exp`. Take `log_softmax` over the vocabulary first.

    probabilities: `log_softmax` becomes `softmax`. These are probabilities. Their logarithms are
        what adds up along a text: use `log_softmax`.

    softmax over time: `logits[:, :-1].log_softmax(dim=-1)` becomes
        `logits.log_softmax(dim=1)[:, :-1]`. Your softmax runs over time. At each position the
        *vocabulary* competes: `dim=-1`.

    surprise: `return logp` becomes `return -logp`. The sign is off: this is the negative
        log-likelihood, -log p. Log-probabilities are never positive.

    first column missing: `response_mask.bool(), 0.0)` becomes `response_mask.bool(), 0.0)[:, 1:]`.
        Your answer has one column less than `tokens`. The first token has no predecessor and
        counts 0: put a column of zeros before the others, so that columns and tokens agree.
    """,
    hints=(
        "Two slices do the shift: `logits[:, :-1]` predict `tokens[:, 1:]`.",
        "`log_softmax(dim=-1)`, then `gather(-1, tokens[:, 1:, None])[..., 0]` picks one number "
        "per token.",
        "Put a column of zeros in front (`torch.cat`, `dim=1`), then "
        "`masked_fill(~response_mask, 0.0)`.",
    ),
)


# --- Where the score belongs -------------------------------------------------------------------


def _terminal_cases(rng: np.random.Generator) -> list[Case]:
    pictures, scores = _random_rows(rng, 4), rng.normal(size=4)
    expected = np.zeros((4, 10))
    for row, (picture, score) in enumerate(zip(pictures, scores, strict=True)):
        expected[row, picture.rindex("x")] = score
    cut, empty = [[0, 0, 0, 0, 1.5], [0, 0, 0, 3, 0]], [[0, 0, 0, 0], [0, 0, 5, 0]]
    two = "two responses, of three tokens and of one"
    rows = [
        (two, [2, -1], [".xxx.", "..x.."], [[0, 0, 0, 2, 0], [0, 0, -1, 0, 0]]),
        ("a response cut off ends in the last column", [1.5, 3], ["..xxx", "..xx."], cut),
        ("a row without a response gets nothing", [4, 5], ["....", ".xx."], empty),
        ("four random rows", scores, pictures, expected),
    ]
    return [Case(name, (floats(x), bits(*mask)), floats(y)) for name, x, mask, y in rows]


terminal_rewards = Exercise(
    reference=ppo.terminal_rewards,
    cases=_terminal_cases,
    edits="""
    in the last column: `column == last` becomes `column == len(column) - 1`. You put every score
        into the last column. Shorter responses end before it, and there the score falls on padding
        and is lost. Find the last True of each row.

    at every token: `column == last` becomes `response_mask`. You paid the score for every token.
        Then a long response is worth more than a short one of the same quality: pay once, at the
        last token.

    spread evenly: `column == last, scores[:, None]` becomes
        `response_mask, scores[:, None] / response_mask.sum(dim=1, keepdim=True)`. You spread the
        score evenly over the tokens. The sum is right, but the reward model spoke once, when the
        response was complete. Which token deserves what is the business of GAE.

    at the first token: `-1).amax(` becomes `len(column)).amin(`. You put the score at the first
        token. Everything written after it would earn nothing: rewards count for what comes
        *before* them. Take the last token.

    counted from the left: `torch.where(response_mask.bool(), column, -1).amax(dim=1, keepdim=True)`
        becomes `response_mask.sum(dim=1, keepdim=True) - 1`. Your column is the length of the
        response less one. A row begins with padding and a prompt, so the response ends further
        right: look for the position of the last True.

    one too late: `column == last` becomes `(column == last + 1) & (last >= 0)`. Your score stands
        one column behind the response, on padding. The end token is the last one that the mask
        keeps, and the score belongs to it.

    one too early: `column == last` becomes `column == last - 1`. Your score stands before the last
        token. That token is the end: writing it is an action, and it would earn nothing, so
        stopping would never be learned.

    an empty row is paid: `column == last` becomes `column == last % len(column)`. A row without a
        response gets its score in the last column, where an index of -1 points. Such a row gets
        nothing.

    an empty row is paid at its start: `column == last` becomes `column == last.clamp(min=0)`. A row
        without a response gets its score in column 0. Such a row gets nothing.

    nothing but the score: `torch.where(column == last, scores[:, None], 0.0)` becomes
        `scores.clone()`. You returned the scores as they came, (B,). What is asked for is one
        number per token, (B, T), 0 but for one.
    """,
    hints=(
        "Number the columns, `column = torch.arange(T)`. The last token of a row is the largest "
        "number among those that the mask keeps.",
        "`torch.where(response_mask, column, -1).amax(dim=1)` is that number, and -1 where there "
        "is no response.",
        "`torch.where(column == last[:, None], scores[:, None], 0.0)`",
    ),
)


# --- The price of leaving the reference --------------------------------------------------------


def _kl_cases(rng: np.random.Generator) -> list[Case]:
    mask = [".xxx.", "..xx."]
    rewards = floats([[0, 0, 0, 2, 0], [0, 0, 0, -1, 0]])
    logp = [[-3, -1, -2, -1, -4], [-2, -5, -1, -3, -1]]
    ref = [[-1, -2, -1, -1.5, -2], [-3, -2, -4, -1, -5]]
    # The log-ratios of the responses are 1, -1, 0.5 and 3, -2.
    charged = [[0, -0.1, 0.1, 1.95, 0], [0, 0, -0.3, -0.8, 0]]
    dearer = "beta 0.1: dearer where the policy prefers the token, cheaper where it does not"
    pictures = _random_rows(rng, 3)
    own, other = -rng.exponential(size=(2, 3, 10))
    drawn, expected, beta = np.zeros((3, 10)), np.zeros((3, 10)), float(rng.uniform(0.2, 0.6))
    for i, picture in enumerate(pictures):
        drawn[i, picture.rindex("x")] = rng.normal() + 3
        for t in range(10):
            if picture[t] == "x":
                expected[i, t] = drawn[i, t] - beta * (own[i, t] - other[i, t])
    rows = [
        (dearer, rewards, logp, ref, mask, 0.1, charged),
        ("beta 0: the rewards alone", rewards, logp, ref, mask, 0.0, rewards),
        ("at the reference itself nothing is charged", rewards, ref, ref, mask, 0.5, rewards),
        ("three random rows", drawn, own, other, pictures, beta, expected),
    ]
    return [
        Case(name, (*map(floats, three), bits(*mask), beta), floats(found))
        for name, *three, mask, beta, found in rows
    ]


kl_shaped_rewards = Exercise(
    reference=ppo.kl_shaped_rewards,
    cases=_kl_cases,
    edits="""
    pays for leaving: `- beta` becomes `+ beta`. The sign is off, or policy and reference are
        exchanged: you *pay* the policy for leaving the reference. Subtract
        `beta * (logp - ref_logp)`.

    forgets beta: `- beta * (logp` becomes `- (logp`. `beta` changes nothing in your version. It is
        the price of a nat.

    beta on the score: `rewards - beta` becomes `beta * rewards - beta`. You multiplied the score by
        `beta` as well. Then beta scales everything and sets no balance: it belongs to the penalty
        alone.

    forgets the mask: `.masked_fill(~response_mask.bool(), 0.0)` goes. Prompt and padding are
        charged too in your answer. The policy wrote neither: 0 outside `response_mask`.

    absolute value: `(logp - ref_logp)` becomes `(logp - ref_logp).abs()`. You charge every
        distance, in both directions. The mean of the *signed* log-ratio over tokens that the
        policy drew is the KL divergence; with absolute values it is something else, and never 0
        for a policy that is only noisy.

    ratio instead of its logarithm: `(logp - ref_logp)` becomes `(logp - ref_logp).exp()`. You
        charge the ratio of probabilities. It is 1, not 0, where both agree: take the difference of
        the log-probabilities.

    k2: `(logp - ref_logp)` becomes `(0.5 * (logp - ref_logp) ** 2)`. This is the estimator k2, half
        of the square: never negative, so it charges a token also for being *less* probable than
        under the reference. The price here is the signed log-ratio itself.

    weighted by the probability: `(logp - ref_logp)` becomes `(logp.exp() * (logp - ref_logp))`.
        You weighted the log-ratio by the probability of the token, as in the formula of the KL. The
        tokens were *drawn* with that probability, so it is in the mean already.

    k3: `(logp - ref_logp)` becomes `(torch.expm1(ref_logp - logp) + logp - ref_logp)`. This is the
        estimator k3: never negative, with the same mean, and fine as a diagnostic. As a reward it
        charges each token another amount. RLHF-PPO charges the log-ratio itself (arXiv 1909.08593,
        equation 2).

    all at the end: `(logp - ref_logp)` becomes
        `terminal_rewards(((logp - ref_logp) * response_mask).sum(dim=1), response_mask)`. You
        charge the whole response at its last token. The sum is right, but the token that strayed
        is not told so: charge each token its own log-ratio.

    the total at every token: `(logp - ref_logp)` becomes
        `((logp - ref_logp) * response_mask).sum(dim=1, keepdim=True)`. You charge every token for
        the whole response: a response of n tokens pays n times. No sum is needed here, each token
        pays its own log-ratio.

    forgets the score: `rewards - beta` becomes `-beta`. The rewards are missing: this policy would
        learn to stay at the reference and nothing else. Add `rewards`.
    """,
    hints=(
        "No loop and no sum: each token's number depends on that token alone.",
        "The log-ratio of a token is `logp - ref_logp`: above 0 where the policy likes it better "
        "than the reference does.",
        "`(rewards - beta * (logp - ref_logp)).masked_fill(~response_mask, 0.0)`",
    ),
)


# --- Whitening what counts ---------------------------------------------------------------------


def _whiten_cases(rng: np.random.Generator) -> list[Case]:
    root = np.sqrt(2 / 3)  # the standard deviation of 1, 2 and 3
    pictures, drawn = _random_rows(rng, 3), rng.normal(2, 3, size=(3, 10))
    keep, white = bits(*pictures).numpy(), np.zeros((3, 10))
    kept = drawn[keep]
    white[keep] = (kept - kept.sum() / len(kept)) / np.sqrt(((kept - kept.mean()) ** 2).mean())
    zeros, equal = "1, 2 and 3 among zeros of prompt and padding", [[0, 2, 2, 0], [0, 2, 0, 0]]
    none_better = "all advantages equal: nothing was better than anything"
    three = [[0, -1 / root, 1 / root, 0], [0, 0, 0, 0]]
    rows = [
        (zeros, [[0, 1, 3, 0], [0, 2, 0, 0]], [".xx.", ".x.."], three),
        (none_better, equal, [".xx.", ".x.."], np.zeros((2, 4))),
        ("an advantage of exactly 0 counts", [[5, 0, 4, 5]], [".xx."], [[0, -1, 1, 0]]),
        ("three random rows", drawn, pictures, white),
    ]
    return [
        Case(name, (floats(x), bits(*mask)), floats(found), rtol=1e-4, atol=1e-5)
        for name, x, mask, found in rows
    ]


whiten_advantages = Exercise(
    reference=ppo.whiten_advantages,
    cases=_whiten_cases,
    edits="""
    padding counts: `losses.whiten(advantages, response_mask)` becomes `losses.whiten(advantages)`.
        Mean and spread are those of the whole rectangle, prompts and padding included: one long
        response in a batch would change the advantages of all others. Use
        `advantages[response_mask]` for both.

    zeros left out by value: `losses.whiten(advantages, response_mask)` becomes
        `losses.whiten(advantages, response_mask & (advantages != 0))`. You left out the zeros to
        get rid of padding. An advantage can be exactly 0, and then it counts: go by the mask, not
        by the value.

    each row by itself: `losses.whiten(advantages, response_mask)` becomes
        `torch.stack([losses.whiten(*row) for row in zip(advantages, response_mask)])`. You whitened
        each response by itself. Then a good response and a bad one get the same advantages on
        average, and the difference between them is what was to be learned. One mean and one spread
        for the whole batch.

    no division: `losses.whiten(advantages, response_mask)` becomes
        `(advantages - advantages[response_mask].mean())`. You took the mean away, but the spread is
        still there: divide by the standard deviation.

    no mean: `losses.whiten(advantages, response_mask)` becomes
        `(advantages / (advantages[response_mask].std(correction=0) + 1e-8))`. You scaled, but did
        not take the mean away.

    variance: `losses.whiten(advantages, response_mask)` becomes
        `((advantages - advantages[response_mask].mean())
        / (advantages[response_mask].var(correction=0) + 1e-8))`. You divided by the variance. Its
        root, the standard deviation, has the unit of the advantages.

    nothing for equal advantages: `losses.whiten(advantages, response_mask)` becomes
        `((advantages - advantages[response_mask].mean())
        / advantages[response_mask].std(correction=0))`. 0 / 0 where all advantages are equal, and
        one nan ends the training. Add a small number, 1e-8, to the standard deviation.

    one degree of freedom less: `losses.whiten(advantages, response_mask)` becomes
        `((advantages - advantages[response_mask].mean())
        / (advantages[response_mask].std() + 1e-8))`. Torch's `std` divides by n - 1 by default.
        Among a thousand tokens nobody would notice; here the spread over what the mask keeps is
        asked for: `correction=0`.

    a mean of row means: `losses.whiten(advantages, response_mask)` becomes
        `((advantages
        - torch.stack([a[m].mean() for a, m in zip(advantages, response_mask)]).mean())
        / (advantages[response_mask].std(correction=0) + 1e-8))`. Your mean is that of the rows'
        means, in which a token of a short response counts more. Each token counts the same: take
        the mean of `advantages[response_mask]`.

    numbers outside: `.masked_fill(~response_mask.bool(), 0.0)` goes. Mean and spread are right, but
        prompt and padding now hold numbers. Nobody chose them: 0 outside the mask.
    """,
    hints=(
        "`advantages[response_mask]` is a flat list of the numbers that count. Take mean and "
        "standard deviation from it.",
        "One mean and one standard deviation for all rows together, `std(correction=0)`, plus 1e-8 "
        "before you divide.",
        "At the end `masked_fill(~response_mask, 0.0)`.",
    ),
)


# --- All of it: from prompts to a batch ----------------------------------------------------------

collect_rollout = build.collect_rollout

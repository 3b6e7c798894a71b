"""Exercises of lesson 08: log-probabilities, the score's place, the KL penalty, whitening."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from course_lib.classroom.check import Case, Exercise, Mistake
from course_lib.rlhf import ppo


def _float(numbers) -> Tensor:
    return torch.as_tensor(np.asarray(numbers), dtype=torch.float32)


def _bits(rows: list[str]) -> Tensor:
    """A mask as a picture: "x" where it keeps."""
    return torch.tensor([[sign == "x" for sign in row] for row in rows])


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
    after = np.array([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [0.2, 0.6, 0.2], [0.3, 0.4, 0.3]])
    tokens = torch.tensor([[1, 0, 2, 1]])
    log = np.log
    hand = [
        Case(
            "a prompt of two tokens, a response of two",
            (_float(log(after))[None], tokens, _bits(["..xx"])),
            _float([[0, 0, log(0.7), log(0.6)]]),
        ),
        Case(
            "the same logits plus 5: a constant changes no probability",
            (_float(log(after) + 5)[None], tokens, _bits([".xx."])),
            _float([[0, log(0.5), log(0.7), 0]]),
        ),
    ]
    logits = rng.normal(size=(3, 10, 5))
    tokens = rng.integers(5, size=(3, 10))
    pictures = _random_rows(rng, 3)
    expected = np.zeros((3, 10))
    for i, t in np.ndindex(3, 10):
        if pictures[i][t] == "x":  # one by one, in double precision
            row = logits[i, t - 1]
            expected[i, t] = row[tokens[i, t]] - log(np.exp(row).sum())
    args = (_float(logits), torch.tensor(tokens), _bits(pictures))
    return [*hand, Case("three random rows", args, _float(expected), atol=1e-5)]


def _picked(numbers: Tensor, tokens: Tensor, shift: int = 1) -> Tensor:
    """What ``numbers`` (B, T, V) hold for each token, read ``shift`` positions earlier; (B, T)."""
    moved = torch.zeros_like(numbers)
    if shift > 0:
        moved[:, shift:] = numbers[:, :-shift]
    elif shift < 0:
        moved[:, :shift] = numbers[:, -shift:]
    else:
        moved = numbers
    found = moved.gather(-1, tokens[..., None])[..., 0].clone()
    if shift > 0:
        found[:, :shift] = 0
    return found


def _masked(x: Tensor, mask: Tensor) -> Tensor:
    return x.masked_fill(~mask, 0.0)


token_logp = Exercise(
    reference=ppo.token_logp,
    cases=_logp_cases,
    mistakes=(
        Mistake(
            "no shift",
            lambda logits, tokens, mask: _masked(
                _picked(logits.log_softmax(-1), tokens, shift=0), mask
            ),
            "You read the logits at the token's own position. Those have seen the token already "
            "and speak of the next one: take the logits at t - 1 for the token at t.",
        ),
        Mistake(
            "shifts the wrong way",
            lambda logits, tokens, mask: _masked(
                _picked(logits.log_softmax(-1), tokens, shift=-1), mask
            ),
            "You read the logits one position *after* the token. They know it and its successor. "
            "Shift the other way: logits at t - 1 for the token at t.",
        ),
        Mistake(
            "forgets the mask",
            lambda logits, tokens, mask: _picked(logits.log_softmax(-1), tokens),
            "Prompt and padding have log-probabilities too in your answer. The policy wrote "
            "neither: set everything outside `response_mask` to 0.",
        ),
        Mistake(
            "mask not shifted along",
            lambda logits, tokens, mask: _masked(
                _picked(logits.log_softmax(-1), tokens),
                torch.cat([mask[:, 1:], torch.zeros_like(mask[:, :1])], dim=1),
            ),
            "Your mask is one column early: you shifted it along with the logits. After the shift "
            "the number of the token at t stands in column t, where its mask stands as well.",
        ),
        Mistake(
            "raw logits",
            lambda logits, tokens, mask: _masked(_picked(logits, tokens), mask),
            "These are logits, not log-probabilities: they do not sum to 1 after `exp`. Take "
            "`log_softmax` over the vocabulary first.",
        ),
        Mistake(
            "probabilities",
            lambda logits, tokens, mask: _masked(_picked(logits.softmax(-1), tokens), mask),
            "These are probabilities. Their logarithms are what adds up along a text: use "
            "`log_softmax`.",
        ),
        Mistake(
            "softmax over time",
            lambda logits, tokens, mask: _masked(_picked(logits.log_softmax(1), tokens), mask),
            "Your softmax runs over time. At each position the *vocabulary* competes: `dim=-1`.",
        ),
        Mistake(
            "surprise",
            lambda logits, tokens, mask: -_masked(_picked(logits.log_softmax(-1), tokens), mask),
            "The sign is off: this is the surprise, -log p. Log-probabilities are never positive.",
        ),
        Mistake(
            "first column missing",
            lambda logits, tokens, mask: _masked(_picked(logits.log_softmax(-1), tokens), mask)[
                :, 1:
            ],
            "Your answer has one column less than `tokens`. The first token has no predecessor and "
            "counts 0: put a column of zeros before the others, so that columns and tokens agree.",
        ),
    ),
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
    hand = [
        Case(
            "two responses, of three tokens and of one",
            (_float([2, -1]), _bits([".xxx.", "..x.."])),
            _float([[0, 0, 0, 2, 0], [0, 0, -1, 0, 0]]),
        ),
        Case(
            "a response cut off by the length limit ends in the last column",
            (_float([1.5, 3]), _bits(["..xxx", "..xx."])),
            _float([[0, 0, 0, 0, 1.5], [0, 0, 0, 3, 0]]),
        ),
        Case(
            "a row without a response gets nothing",
            (_float([4, 5]), _bits(["....", ".xx."])),
            _float([[0, 0, 0, 0], [0, 0, 5, 0]]),
        ),
    ]
    pictures, scores = _random_rows(rng, 4), rng.normal(size=4)
    expected = np.zeros((4, 10))
    for row, (picture, score) in enumerate(zip(pictures, scores, strict=True)):
        expected[row, picture.rindex("x")] = score
    return [*hand, Case("four random rows", (_float(scores), _bits(pictures)), _float(expected))]


def _placed(scores: Tensor, mask: Tensor, at: Tensor) -> Tensor:
    """Each score in the column ``at`` (B,) of its row; -1 or T: nowhere."""
    return torch.where(torch.arange(mask.shape[1]) == at[:, None], scores[:, None], 0.0)


def _last(mask: Tensor) -> Tensor:
    return torch.where(mask, torch.arange(mask.shape[1]), -1).amax(1)


def _first(mask: Tensor) -> Tensor:
    return torch.where(mask.any(1), mask.int().argmax(1), -1)


def _each_token(scores: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, scores[:, None], 0.0)


terminal_rewards = Exercise(
    reference=ppo.terminal_rewards,
    cases=_terminal_cases,
    mistakes=(
        Mistake(
            "in the last column",
            lambda scores, mask: _placed(scores, mask, torch.full((len(mask),), mask.shape[1] - 1)),
            "You put every score into the last column. Shorter responses end before it, and there "
            "the score falls on padding and is lost. Find the last True of each row.",
        ),
        Mistake(
            "at every token",
            _each_token,
            "You paid the score for every token. Then a long response is worth more than a short "
            "one of the same quality: pay once, at the last token.",
        ),
        Mistake(
            "spread evenly",
            lambda scores, mask: _each_token(scores, mask) / mask.sum(1, keepdim=True).clamp(min=1),
            "You spread the score evenly over the tokens. The sum is right, but the reward model "
            "spoke once, when the response was complete. Which token deserves what is the "
            "business of GAE.",
        ),
        Mistake(
            "at the first token",
            lambda scores, mask: _placed(scores, mask, _first(mask)),
            "You put the score at the first token. Everything written after it would earn nothing: "
            "rewards count for what comes *before* them. Take the last token.",
        ),
        Mistake(
            "counted from the left",
            lambda scores, mask: _placed(scores, mask, mask.sum(1) - 1),
            "Your column is the length of the response less one. A row begins with padding and a "
            "prompt, so the response ends further right: look for the position of the last True.",
        ),
        Mistake(
            "one too late",
            lambda scores, mask: _placed(
                scores, mask, torch.where(mask.any(1), _last(mask) + 1, -1)
            ),
            "Your score stands one column behind the response, on padding. The end token is the "
            "last one that the mask keeps, and the score belongs to it.",
        ),
        Mistake(
            "one too early",
            lambda scores, mask: _placed(
                scores, mask, torch.where(mask.any(1), _last(mask) - 1, -1)
            ),
            "Your score stands before the last token. That token is the end: writing it is an "
            "action, and it would earn nothing, so stopping would never be learned.",
        ),
        Mistake(
            "nothing but the score",
            lambda scores, mask: scores.clone(),
            "You returned the scores as they came, (B,). What is asked for is one number per "
            "token, (B, T), 0 but for one.",
        ),
    ),
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
    mask = _bits([".xxx.", "..xx."])
    rewards = _float([[0, 0, 0, 2, 0], [0, 0, 0, -1, 0]])
    logp = _float([[-3, -1, -2, -1, -4], [-2, -5, -1, -3, -1]])
    ref = _float([[-1, -2, -1, -1.5, -2], [-3, -2, -4, -1, -5]])
    hand = [
        # log-ratios of the responses: 1, -1, 0.5 and 3, -2
        Case(
            "beta 0.1: dearer where the policy prefers the token, cheaper where it does not",
            (rewards, logp, ref, mask, 0.1),
            _float([[0, -0.1, 0.1, 1.95, 0], [0, 0, -0.3, -0.8, 0]]),
        ),
        Case("beta 0: the rewards alone", (rewards, logp, ref, mask, 0.0), rewards.clone()),
        Case(
            "at the reference itself nothing is charged",
            (rewards, ref, ref, mask, 0.5),
            rewards.clone(),
        ),
    ]
    pictures = _random_rows(rng, 3)
    logp, ref = -rng.exponential(size=(2, 3, 10))
    rewards, expected, beta = np.zeros((3, 10)), np.zeros((3, 10)), float(rng.uniform(0.2, 0.6))
    for i, picture in enumerate(pictures):
        rewards[i, picture.rindex("x")] = rng.normal() + 3
        for t in range(10):
            if picture[t] == "x":
                expected[i, t] = rewards[i, t] - beta * (logp[i, t] - ref[i, t])
    args = (_float(rewards), _float(logp), _float(ref), _bits(pictures), beta)
    return [*hand, Case("three random rows", args, _float(expected))]


def _shaped(penalty):
    """The right answer with another ``penalty(log-ratio)`` per token, to be put wrong below."""

    def shaped(rewards, logp, ref_logp, mask, beta):
        return _masked(rewards - beta * penalty(logp - ref_logp), mask)

    return shaped


def _all_at_the_end(rewards, logp, ref_logp, mask, beta):
    total = _masked(logp - ref_logp, mask).sum(1)
    return rewards - beta * _placed(total, mask, _last(mask))


def _total_everywhere(rewards, logp, ref_logp, mask, beta):
    total = _masked(logp - ref_logp, mask).sum(1, keepdim=True)
    return _masked(rewards - beta * total, mask)


kl_shaped_rewards = Exercise(
    reference=ppo.kl_shaped_rewards,
    cases=_kl_cases,
    mistakes=(
        Mistake(
            "pays for leaving",
            _shaped(lambda ratio: -ratio),
            "The sign is off, or policy and reference are exchanged: you *pay* the policy for "
            "leaving the reference. Subtract `beta * (logp - ref_logp)`.",
        ),
        Mistake(
            "forgets beta",
            lambda r, logp, ref, mask, beta: _masked(r - (logp - ref), mask),
            "`beta` changes nothing in your version. It is the price of a nat.",
        ),
        Mistake(
            "beta on the score",
            lambda r, logp, ref, mask, beta: _masked(beta * (r - (logp - ref)), mask),
            "You multiplied the score by `beta` as well. Then beta scales everything and sets no "
            "balance: it belongs to the penalty alone.",
        ),
        Mistake(
            "forgets the mask",
            lambda r, logp, ref, mask, beta: r - beta * (logp - ref),
            "Prompt and padding are charged too in your answer. The policy wrote neither: 0 "
            "outside `response_mask`.",
        ),
        Mistake(
            "absolute value",
            _shaped(torch.abs),
            "You charge every distance, in both directions. The mean of the *signed* log-ratio "
            "over tokens that the policy drew is the KL divergence; with absolute values "
            "it is something else, and never 0 for a policy that is only noisy.",
        ),
        Mistake(
            "ratio instead of its logarithm",
            _shaped(torch.exp),
            "You charge the ratio of probabilities. It is 1, not 0, where both agree: take the "
            "difference of the log-probabilities.",
        ),
        Mistake(
            "k3",
            _shaped(lambda ratio: torch.expm1(-ratio) + ratio),
            "This is the estimator k3: never negative, with the same mean, and fine as a "
            "diagnostic. As a reward it charges each token another amount. RLHF-PPO charges the "
            "log-ratio itself (arXiv 1909.08593, equation 2).",
        ),
        Mistake(
            "all at the end",
            _all_at_the_end,
            "You charge the whole response at its last token. The sum is right, but the token that "
            "strayed is not told so: charge each token its own log-ratio.",
        ),
        Mistake(
            "the total at every token",
            _total_everywhere,
            "You charge every token for the whole response: a response of n tokens pays n times. "
            "No sum is needed here, each token pays its own log-ratio.",
        ),
        Mistake(
            "forgets the score",
            lambda r, logp, ref, mask, beta: _masked(-beta * (logp - ref), mask),
            "The rewards are missing: this policy would learn to stay at the reference and nothing "
            "else. Add `rewards`.",
        ),
    ),
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
    hand = [
        Case(
            "1, 2 and 3 among zeros of prompt and padding",
            (_float([[0, 1, 3, 0], [0, 2, 0, 0]]), _bits([".xx.", ".x.."])),
            _float([[0, -1 / root, 1 / root, 0], [0, 0, 0, 0]]),
            rtol=1e-4,
        ),
        Case(
            "all advantages equal: nothing was better than anything",
            (_float([[0, 2, 2, 0], [0, 2, 0, 0]]), _bits([".xx.", ".x.."])),
            torch.zeros(2, 4),
        ),
        Case(
            "an advantage of exactly 0 is an advantage",
            (_float([[5, 0, 4, 5]]), _bits([".xx."])),
            _float([[0, -1, 1, 0]]),
            rtol=1e-4,
        ),
    ]
    pictures, numbers = _random_rows(rng, 3), rng.normal(2, 3, size=(3, 10))
    keep = np.array([[sign == "x" for sign in row] for row in pictures])
    kept = numbers[keep]
    expected = np.zeros((3, 10))
    expected[keep] = (kept - kept.sum() / len(kept)) / np.sqrt(((kept - kept.mean()) ** 2).mean())
    args = (_float(numbers), _bits(pictures))
    return [*hand, Case("three random rows", args, _float(expected), rtol=1e-4, atol=1e-5)]


def _whitened(x: Tensor, kept: Tensor, mask: Tensor, **std) -> Tensor:
    """``x`` by mean and standard deviation of ``kept`` (n,), 0 outside ``mask``."""
    return _masked((x - kept.mean()) / (kept.std(**{"correction": 0} | std) + 1e-8), mask)


def _by_row(x: Tensor, mask: Tensor) -> Tensor:
    rows = [_whitened(a, a[m], m) for a, m in zip(x, mask, strict=True)]
    return torch.stack(rows)


whiten_advantages = Exercise(
    reference=ppo.whiten_advantages,
    cases=_whiten_cases,
    mistakes=(
        Mistake(
            "padding counts",
            lambda x, mask: _whitened(x, x, mask),
            "Mean and spread are those of the whole rectangle, prompts and padding included: one "
            "long response in a batch would change the advantages of all others. Use "
            "`advantages[response_mask]` for both.",
        ),
        Mistake(
            "zeros left out by value",
            lambda x, mask: _whitened(x, x[mask & (x != 0)], mask),
            "You left out the zeros to get rid of padding. An advantage can be exactly 0, and then "
            "it counts: go by the mask, not by the value.",
        ),
        Mistake(
            "each row by itself",
            _by_row,
            "You whitened each response by itself. Then a good response and a bad one get the "
            "same advantages on average, and the difference between them is what was to be "
            "learned. One mean and one spread for the whole batch.",
        ),
        Mistake(
            "no division",
            lambda x, mask: _masked(x - x[mask].mean(), mask),
            "You took the mean away, but the spread is still there: divide by the standard "
            "deviation.",
        ),
        Mistake(
            "no mean",
            lambda x, mask: _masked(x / (x[mask].std(correction=0) + 1e-8), mask),
            "You scaled, but did not take the mean away.",
        ),
        Mistake(
            "variance",
            lambda x, mask: _masked(
                (x - x[mask].mean()) / (x[mask].var(correction=0) + 1e-8), mask
            ),
            "You divided by the variance. Its root, the standard deviation, has the unit of the "
            "advantages.",
        ),
        Mistake(
            "nothing for equal advantages",
            lambda x, mask: _masked((x - x[mask].mean()) / x[mask].std(correction=0), mask),
            "0 / 0 where all advantages are equal, and one nan ends the training. Add a small "
            "number, 1e-8, to the standard deviation.",
        ),
        Mistake(
            "one degree of freedom less",
            lambda x, mask: _whitened(x, x[mask], mask, correction=1),
            "Torch's `std` divides by n - 1 by default. Among a thousand tokens nobody would "
            "notice; here the spread over what the mask keeps is asked for: `correction=0`.",
        ),
        Mistake(
            "numbers outside",
            lambda x, mask: (x - x[mask].mean()) / (x[mask].std(correction=0) + 1e-8),
            "Mean and spread are right, but prompt and padding now hold numbers. Nobody chose "
            "them: 0 outside the mask.",
        ),
    ),
    hints=(
        "`advantages[response_mask]` is a flat list of the numbers that count. Take mean and "
        "standard deviation from it.",
        "One mean and one standard deviation for all rows together, `std(correction=0)`, plus 1e-8 "
        "before you divide.",
        "At the end `masked_fill(~response_mask, 0.0)`.",
    ),
)

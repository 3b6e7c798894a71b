"""Exercises of lesson 09: DPO's loss, advantages of a group, KL estimates, weights of tokens."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.classroom.check import Case, Exercise, Mistake
from course_lib.rlhf import dpo, grpo


def _float(numbers) -> Tensor:
    return torch.as_tensor(np.asarray(numbers), dtype=torch.float32)


def _bits(rows: list[str]) -> Tensor:
    """A mask as a picture: "x" where it keeps."""
    return torch.tensor([[sign == "x" for sign in row] for row in rows])


# --- DPO's loss --------------------------------------------------------------------------------


def _pair_cases(rng: np.random.Generator) -> list[Case]:
    def case(name: str, chosen, rejected, ref_chosen, ref_rejected, beta: float) -> Case:
        rows = zip(chosen, rejected, ref_chosen, ref_rejected, strict=True)
        # Ground truth: the probability of the label by Bradley and Terry, pair by pair.
        rewards = [(beta * (c - rc), beta * (r - rr)) for c, r, rc, rr in rows]
        odds = [math.exp(a) / (math.exp(a) + math.exp(b)) for a, b in rewards]
        args = (*map(_float, (chosen, rejected, ref_chosen, ref_rejected)), beta)
        return Case(name, args, _float([-math.log(p) for p in odds]), atol=1e-5)

    hand = [
        Case(
            "the policy is still its reference: log 2, whatever the responses are",
            (_float([-3]), _float([-9]), _float([-3]), _float([-9]), 0.1),
            _float([math.log(2)]),
        ),
        case(
            "both have become less probable, the rejected one more so", [-8], [-20], [-5], [-6], 1
        ),
        case("the rejected one has gained", [-6.0], [-2.0], [-5.0], [-5.0], 0.5),
        # exp(300) is too large for a float32; the loss is not.
        Case(
            "very wrong: no overflow",
            (_float([-310]), _float([-10]), _float([-10]), _float([-10]), 1.0),
            _float([300]),
        ),
    ]
    drawn = rng.uniform(-12, -1, size=(4, 3)).round(2).tolist()
    beta = round(float(rng.uniform(0.2, 0.6)), 2)
    return [*hand, case("three random pairs", *drawn, beta)]


def _margin(c: Tensor, r: Tensor, rc: Tensor, rr: Tensor) -> Tensor:
    return (c - rc) - (r - rr)


pair_loss = Exercise(
    reference=dpo.pair_loss,
    cases=_pair_cases,
    mistakes=(
        Mistake(
            "forgets the reference",
            lambda c, r, rc, rr, beta: -F.logsigmoid(beta * (c - r)),
            "The reference changes nothing in your version. What counts is how much *more* "
            "probable a response has become: subtract `ref_logp` on both sides. Without it a "
            "short response wins, because it was more probable from the start.",
        ),
        Mistake(
            "forgets beta",
            lambda c, r, rc, rr, beta: -F.logsigmoid(_margin(c, r, rc, rr)),
            "`beta` changes nothing in your version. It multiplies the margin, inside the sigmoid.",
        ),
        Mistake(
            "beta outside",
            lambda c, r, rc, rr, beta: -beta * F.logsigmoid(_margin(c, r, rc, rr)),
            "You multiplied the loss by `beta`, which only rescales the learning rate. It belongs "
            "*inside* the sigmoid, where it says how large a margin is enough.",
        ),
        Mistake(
            "divides by beta",
            lambda c, r, rc, rr, beta: -F.logsigmoid(_margin(c, r, rc, rr) / beta),
            "You divided the margin by `beta`. The implied reward is beta * log(pi / ref): "
            "multiply.",
        ),
        Mistake(
            "sides exchanged",
            lambda c, r, rc, rr, beta: -F.logsigmoid(-beta * _margin(c, r, rc, rr)),
            "The sign of your margin is turned: this loss falls when the *rejected* response "
            "becomes more probable. Chosen minus rejected.",
        ),
        Mistake(
            "reference added",
            lambda c, r, rc, rr, beta: -F.logsigmoid(beta * ((c - r) + (rc - rr))),
            "You added the reference's difference. A ratio of probabilities is a *difference* of "
            "logarithms: subtract it.",
        ),
        Mistake(
            "overflows",
            lambda c, r, rc, rr, beta: -torch.log(torch.sigmoid(beta * _margin(c, r, rc, rr))),
            "For a very wrong pair your sigmoid is rounded to 0, and its logarithm is minus "
            "infinity. `F.logsigmoid` computes both in one step and stays finite.",
        ),
        Mistake(
            "forgets the logarithm",
            lambda c, r, rc, rr, beta: -torch.sigmoid(beta * _margin(c, r, rc, rr)),
            "That is minus the *probability* of the label. The loss is its surprise: minus the "
            "logarithm of the probability.",
        ),
        Mistake(
            "forgets the sign",
            lambda c, r, rc, rr, beta: F.logsigmoid(beta * _margin(c, r, rc, rr)),
            "That is the log-probability of the label, which training would make as small as it "
            "can. A loss needs the minus.",
        ),
        Mistake(
            "mean",
            lambda c, r, rc, rr, beta: (-F.logsigmoid(beta * _margin(c, r, rc, rr))).mean(),
            "You took the mean. Return one loss for each pair, (B,); the library takes the mean.",
        ),
        Mistake(
            "the reference drifts",
            lambda c, r, rc, rr, beta: -F.logsigmoid(beta * _margin(c, r, c.detach(), r.detach())),
            "You compare the policy with *itself* instead of with the frozen reference: the margin "
            "is 0 for ever, and nothing holds the policy back.",
        ),
    ),
    hints=(
        "How much more probable has each response become? `logp_chosen - ref_logp_chosen`, and "
        "the same for the rejected one.",
        "The margin is beta times the first less the second. By Bradley and Terry the label has "
        "the probability sigmoid(margin).",
        "The loss is `-F.logsigmoid(beta * (gain_chosen - gain_rejected))`, one per pair.",
    ),
)


# --- Advantages of a group ---------------------------------------------------------------------


def _group_cases(rng: np.random.Generator) -> list[Case]:
    def by_hand(rewards, scale: str) -> Tensor:
        rows = []
        for row in rewards:
            mean = math.fsum(row) / len(row)
            rows.append([reward - mean for reward in row])
            if scale == "std":
                spread = math.sqrt(math.fsum(x * x for x in rows[-1]) / (len(row) - 1)) + 1e-4
                rows[-1] = [x / spread for x in rows[-1]]
        return _float(rows)

    half = [[1.0, 0.0, 1.0, 0.0]]
    tied = [[0.1] * 7, [0.3] * 7, [0.7] * 7, [0, 0, 0, 0, 0, 0, 1.0]]
    hand = [
        Case(
            "half of the group right, undivided", (_float(half), "none"), _float([[0.5, -0.5] * 2])
        ),
        Case("half of the group right, divided", (_float(half), "std"), by_hand(half, "std")),
        Case(
            "three tied groups beside one that is not: exactly 0",
            (_float(tied), "std"),
            torch.where(_float([[0], [0], [0], [1]]) > 0, by_hand(tied, "std"), 0.0),
        ),
        Case(
            "each group has its own mean",
            (_float([[0, 1, 2], [10, 10, 13]]), "none"),
            _float([[-1, 0, 1], [-1, -1, 2]]),
        ),
    ]
    drawn = rng.choice([0.0, 0.5, 1.0, 2.0], size=(3, 5))
    drawn[:, 0], drawn[:, 1] = 0.0, rng.uniform(0.5, 3, size=3).round(2)  # none is tied
    rewards = drawn.tolist()
    return [
        *hand,
        Case(
            "three random groups, divided",
            (_float(rewards), "std"),
            by_hand(rewards, "std"),
            atol=1e-5,
        ),
        Case("the same, undivided", (_float(rewards), "none"), by_hand(rewards, "none"), atol=1e-5),
    ]


def _advantages(
    rewards: Tensor, scale: str, *, correction: int = 1, eps: float = 1e-4, untie: bool = False
) -> Tensor:
    """The right answer with parts that can be set wrongly."""
    centred = rewards - rewards.mean(dim=1, keepdim=True)
    if scale == "std":
        centred = centred / (rewards.std(dim=1, keepdim=True, correction=correction) + eps)
    tied = (rewards == rewards[:, :1]).all(dim=1, keepdim=True)
    return centred if untie else centred.masked_fill(tied, 0.0)


def _whole_batch(rewards: Tensor, scale: str) -> Tensor:
    centred = rewards - rewards.mean()
    return centred / (rewards.std() + 1e-4) if scale == "std" else centred


group_advantages = Exercise(
    reference=grpo.group_advantages,
    cases=_group_cases,
    mistakes=(
        Mistake(
            "NaN for a tied group",
            lambda rewards, scale: _advantages(rewards, scale, eps=0.0, untie=True),
            "A tied group has the deviation 0, and you divide by it. Add 1e-4, and give a tied "
            "group exactly 0: one such row would make the whole model NaN.",
        ),
        Mistake(
            "noise for a tied group",
            lambda rewards, scale: _advantages(rewards, scale, untie=True),
            "Nearly: a tied group must give exactly 0. The mean of seven times 0.1 is not 0.1 in "
            "float32, and that rounding error divided by 1e-4 is an update made of noise. Find "
            "the tied rows, and fill them with 0.",
        ),
        Mistake(
            "no 1e-4",
            lambda rewards, scale: _advantages(rewards, scale, eps=0.0),
            "Close: the 1e-4 that is added to the deviation is missing. It keeps a group whose "
            "rewards hardly differ from being blown up.",
        ),
        Mistake(
            "the mean of the batch",
            _whole_batch,
            "You compared with the mean of *all* responses. A prompt that is easier than the "
            "others would then praise all its responses: take mean and deviation along `dim=1`.",
        ),
        Mistake(
            "across the groups",
            lambda rewards, scale: _advantages(rewards.T, scale).T,
            "You compared along the prompts, `dim=0`. The responses to one prompt stand in one "
            "row: compare along `dim=1`.",
        ),
        Mistake(
            "always divides",
            lambda rewards, scale: _advantages(rewards, "std"),
            'You divide by the deviation also where `scale` is "none".',
        ),
        Mistake(
            "never divides",
            lambda rewards, scale: _advantages(rewards, "none"),
            'Where `scale` is "std", the difference is divided by the group\'s deviation.',
        ),
        Mistake(
            "deviation over G",
            lambda rewards, scale: _advantages(rewards, scale, correction=0),
            "Your deviation divides the squares by G. The paper does not say which is meant; here "
            "it is the sample's, over G - 1, which `std()` gives without further ado.",
        ),
        Mistake(
            "variance",
            lambda rewards, scale: (
                (rewards - rewards.mean(dim=1, keepdim=True))
                / (rewards.var(dim=1, keepdim=True) + 1e-4)
                if scale == "std"
                else _advantages(rewards, "none")
            ),
            "You divided by the variance. The deviation is its root: `std`, not `var`.",
        ),
        Mistake(
            "no baseline",
            lambda rewards, scale: (
                rewards / (rewards.std(dim=1, keepdim=True) + 1e-4)
                if scale == "std"
                else rewards * 1
            ),
            "You did not subtract the mean. Without it every rewarded response is made more "
            "probable, also the worst of its group.",
        ),
        Mistake(
            "upside down",
            lambda rewards, scale: -_advantages(rewards, scale),
            "The sign is turned: the mean less the reward. Better than the group must be positive.",
        ),
        Mistake(
            "one column",
            lambda rewards, scale: _advantages(rewards, scale).flatten(),
            "The numbers are right, the shape is not: return (P, G), as `rewards` has it.",
        ),
    ),
    hints=(
        "`rewards.mean(dim=1, keepdim=True)` has the shape (P, 1) and can be subtracted from "
        "(P, G).",
        'With `scale == "std"` divide by `rewards.std(dim=1, keepdim=True) + 1e-4`.',
        "Seven times 0.1 divided by seven is not quite 0.1 in float32. Find the tied rows, "
        "`rewards.amax(1, keepdim=True) == rewards.amin(1, keepdim=True)`, and fill them with 0 "
        "by `masked_fill`.",
    ),
)


# --- Estimates of the KL -----------------------------------------------------------------------


def _kl_cases(rng: np.random.Generator) -> list[Case]:
    half, equal = math.log(0.5), math.log(0.25)
    logp, ref = _float([half, equal, equal]), _float([equal, half, equal])
    log2 = math.log(2)
    hand = [
        # pi / ref is 2, 1/2, 1.
        Case("k1: twice, half, equally probable", (logp, ref, "k1"), _float([log2, -log2, 0])),
        Case("k2", (logp, ref, "k2"), _float([log2**2 / 2, log2**2 / 2, 0])),
        Case("k3", (logp, ref, "k3"), _float([0.5 - 1 + log2, 2 - 1 - log2, 0])),
    ]
    a, b = rng.uniform(-4, -0.1, size=(2, 2, 3))
    spelled = {
        "k1": np.log(np.exp(a) / np.exp(b)),
        "k2": np.log(np.exp(a) / np.exp(b)) ** 2 / 2,
        "k3": np.exp(b) / np.exp(a) - 1 - np.log(np.exp(b) / np.exp(a)),
    }
    return hand + [
        Case(
            f"{kind}: random log-probabilities", (_float(a), _float(b), kind), _float(x), atol=1e-5
        )
        for kind, x in spelled.items()
    ]


def _kl(logp: Tensor, ref: Tensor, kind: str, *, k2: float = 0.5, k3=None) -> Tensor:
    """The right answer with parts that can be set wrongly."""
    d = logp - ref
    if kind == "k1":
        return d
    if kind == "k2":
        return k2 * d**2
    return torch.exp(-d) + d - 1 if k3 is None else k3(d)


kl_estimate = Exercise(
    reference=grpo.kl_estimate,
    cases=_kl_cases,
    mistakes=(
        Mistake(
            "other way round",
            lambda logp, ref, kind: _kl(ref, logp, kind),
            "You have the two exchanged. The tokens were drawn from the policy, and d is "
            "`logp - ref_logp`; yours estimates something else, and its k1 has the wrong sign.",
        ),
        Mistake(
            "k1 turned",
            lambda logp, ref, kind: -_kl(logp, ref, kind) if kind == "k1" else _kl(logp, ref, kind),
            "The sign of your k1 is turned: d is `logp - ref_logp`, positive where the policy "
            "holds a token more probable than its reference does.",
        ),
        Mistake(
            "k3 with the ratio turned",
            lambda logp, ref, kind: _kl(logp, ref, kind, k3=lambda d: torch.exp(d) - d - 1),
            "Your k3 has exp(d). That is PPO's diagnostic, for tokens drawn from the *other* "
            "policy. Here they come from pi: exp(-d) + d - 1.",
        ),
        Mistake(
            "k3 without minus one",
            lambda logp, ref, kind: _kl(logp, ref, kind, k3=lambda d: torch.exp(-d) + d),
            "Your k3 lacks the - 1: where the two policies agree it must be 0.",
        ),
        Mistake(
            "k3 without the logarithm",
            lambda logp, ref, kind: _kl(logp, ref, kind, k3=lambda d: torch.exp(-d) - 1),
            "Your k3 lacks the + d. Then its mean is 0 and it can be negative: it estimates "
            "nothing.",
        ),
        Mistake(
            "k3 minus d",
            lambda logp, ref, kind: _kl(logp, ref, kind, k3=lambda d: torch.exp(-d) - d - 1),
            "In your k3 the sign of d is turned: it can be negative. Draw it: exp(-d) falls "
            "through 1 at d = 0, and + d makes that its lowest point.",
        ),
        Mistake(
            "k2 not halved",
            lambda logp, ref, kind: _kl(logp, ref, kind, k2=1.0),
            "Your k2 is twice too large: half of the square, as in a Taylor series.",
        ),
        Mistake(
            "always k1",
            lambda logp, ref, kind: _kl(logp, ref, "k1"),
            "You return k1 for each `kind`. As a loss its expected gradient is zero, so it would "
            "hold nothing.",
        ),
        Mistake(
            "weighted by the ratio",
            lambda logp, ref, kind: torch.exp(logp) * _kl(logp, ref, kind),
            "You weighted by the probability of the token. The tokens were *drawn* with that "
            "probability, so it is in the mean already.",
        ),
        Mistake(
            "mean",
            lambda logp, ref, kind: _kl(logp, ref, kind).mean(),
            "You took the mean. Return one estimate for each token.",
        ),
    ),
    hints=(
        "Let `d = logp - ref_logp`. Then k1 is `d`.",
        "k2 is `d**2 / 2`: never negative, and close to the others where d is small.",
        "k3 is `torch.exp(-d) + d - 1`: k1 and something whose mean is 0, so that the mean stays "
        "the KL and no estimate is negative.",
    ),
)


# --- Weights of tokens -------------------------------------------------------------------------


def _weight_cases(rng: np.random.Generator) -> list[Case]:
    mask = _bits([".xxxx", ".x..."])
    hand = [
        Case(
            "sequence: each response counts as much as the other",
            (mask, "sequence", 8),
            _float([[0, 1 / 8, 1 / 8, 1 / 8, 1 / 8], [0, 1 / 2, 0, 0, 0]]),
        ),
        Case(
            "constant: two responses of at most eight tokens",
            (mask, "constant", 8),
            _float([[0, 1 / 16, 1 / 16, 1 / 16, 1 / 16], [0, 1 / 16, 0, 0, 0]]),
        ),
        Case(
            "token: each of the five counts as much as the others",
            (mask, "token", 8),
            _float([[0, 0.2, 0.2, 0.2, 0.2], [0, 0.2, 0, 0, 0]]),
        ),
        Case(
            "a row without a response: 0, not NaN",
            (_bits(["xx", ".."]), "sequence", 4),
            _float([[1 / 4, 1 / 4], [0, 0]]),
        ),
    ]
    lengths = rng.permutation([1, 2, 4, 5])[:3]
    rows = [".." + "x" * n + "." * (6 - n) for n in lengths]
    longest = int(rng.integers(7, 12))
    shares = {
        "sequence": [1 / (3 * n) for n in lengths],
        "constant": [1 / (3 * longest)] * 3,
        "token": [1 / sum(lengths)] * 3,
    }
    return hand + [
        Case(
            f"{kind}: three random responses",
            (_bits(rows), kind, longest),
            _float(
                [[s if x == "x" else 0 for x in row] for row, s in zip(rows, share, strict=True)]
            ),
        )
        for kind, share in shares.items()
    ]


def _weights(mask: Tensor, normalise: str, longest: int, *, rows: int | None = None) -> Tensor:
    """The right answer for another number of rows."""
    m, rows = mask.float(), rows or len(mask)
    if normalise == "sequence":
        return m / (m.sum(dim=1, keepdim=True).clamp(min=1) * rows)
    return m / (rows * longest if normalise == "constant" else m.sum().clamp(min=1))


def _without_end(mask: Tensor, normalise: str, longest: int) -> Tensor:
    column = torch.arange(mask.shape[1])
    last = torch.where(mask, column, -1).amax(dim=1, keepdim=True)
    return _weights(mask & (column != last), normalise, longest)


token_weights = Exercise(
    reference=grpo.token_weights,
    cases=_weight_cases,
    mistakes=(
        Mistake(
            "forgets the end",
            _without_end,
            "The last token of each response has no weight. It is the one that *ends* the "
            "response: without it no reward ever teaches the model to stop.",
        ),
        Mistake(
            "forgets the batch",
            lambda mask, normalise, longest: _weights(
                mask, normalise, longest, rows=None if normalise == "token" else 1
            ),
            'Your "sequence" and "constant" lack the division by B, the number of responses: the '
            "loss would grow with the batch.",
        ),
        Mistake(
            "always by length",
            lambda mask, normalise, longest: _weights(mask, "sequence", longest),
            "You divide by the length of each response for each `normalise`. Only GRPO's "
            '"sequence" does; "constant" divides by a number that no response can change.',
        ),
        Mistake(
            "always by tokens",
            lambda mask, normalise, longest: _weights(mask, "token", longest),
            'That is "token" in each case. With "sequence" the *responses* have equal weight, so '
            "a token of a long one counts less.",
        ),
        Mistake(
            "longest of the batch",
            lambda mask, normalise, longest: _weights(
                mask, normalise, longest if normalise != "constant" else int(mask.sum(1).max())
            ),
            'Your "constant" is the longest response *of this batch*: it changes from batch to '
            "batch. Divide by `max_new_tokens`.",
        ),
        Mistake(
            "NaN for an empty row",
            lambda mask, normalise, longest: (
                mask.float() / (mask.float().sum(dim=1, keepdim=True) * len(mask))
                if normalise == "sequence"
                else _weights(mask, normalise, longest)
            ),
            "A row in which the mask keeps nothing gives 0 / 0 = NaN. Divide by at least 1: "
            "`.clamp(min=1)`.",
        ),
        Mistake(
            "columns count",
            lambda mask, normalise, longest: (
                mask.float() / mask.numel()
                if normalise != "constant"
                else _weights(mask, normalise, longest)
            ),
            "You divided by the number of *columns*, padding and prompt included. Count what the "
            "mask keeps: `mask.sum(dim=1)`.",
        ),
        Mistake(
            "weight outside the mask",
            lambda mask, normalise, longest: (
                _weights(mask, normalise, longest).amax(dim=1, keepdim=True).expand(mask.shape) * 1
            ),
            "Prompt and padding have a weight in your version. Multiply by the mask.",
        ),
    ),
    hints=(
        "Begin with the mask as numbers, `response_mask.float()`, and divide it: only the divisor "
        "differs.",
        '"sequence" divides by B times the length of the row, (B, 1): '
        '`mask.sum(dim=1, keepdim=True).clamp(min=1)`. "token" divides by `mask.sum()`.',
        '"constant" divides by `len(mask) * max_new_tokens`.',
    ),
)

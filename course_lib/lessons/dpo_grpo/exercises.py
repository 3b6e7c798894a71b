"""Exercises of lesson 09: DPO's loss, advantages, KL estimates, weights of tokens, GRPO's loop."""

from __future__ import annotations

import math

import numpy as np
import torch

from course_lib.classroom.cases import bits, floats
from course_lib.classroom.check import Case, Exercise, Mistake
from course_lib.lessons.dpo_grpo import build
from course_lib.rlhf import dpo, grpo

# --- DPO's loss --------------------------------------------------------------------------------


def _pair_cases(rng: np.random.Generator) -> list[Case]:
    def case(name: str, columns, beta: float, expected=None) -> Case:
        if expected is None:  # the probability of the label by Bradley and Terry, pair by pair
            rewards = [
                (beta * (c - ref_c), beta * (r - ref_r))
                for c, r, ref_c, ref_r in zip(*columns, strict=True)
            ]
            expected = [-math.log(math.exp(a) / (math.exp(a) + math.exp(b))) for a, b in rewards]
        return Case(name, (*map(floats, columns), beta), floats(expected), atol=1e-5)

    start = "the policy is still its reference: log 2, whatever the responses are"
    both = "both have become less probable, the rejected one more so"
    drawn = rng.uniform(-12, -1, size=(4, 3)).round(2).tolist()
    beta = round(float(rng.uniform(0.2, 0.6)), 2)
    return [
        case(start, ([-3], [-9], [-3], [-9]), 0.1, [math.log(2)]),
        case(both, ([-8], [-20], [-5], [-6]), 1),
        case("the rejected one has gained", ([-6.0], [-2.0], [-5.0], [-5.0]), 0.5),
        # exp(300) is too large for a float32; the loss is not.
        case("very wrong: no overflow", ([-310], [-10], [-10], [-10]), 1.0, [300]),
        case("three random pairs", drawn, beta),
    ]


pair_loss = Exercise(
    reference=dpo.pair_loss,
    differentiated="logp_chosen logp_rejected",
    cases=_pair_cases,
    edits="""
    forgets the reference: ` - ref_logp_chosen` goes, ` - ref_logp_rejected` goes. The reference
        changes nothing in your version. What counts is how much *more* probable a response has
        become: subtract `ref_logp` on both sides. Without it a short response looks better before
        any training, because it was more probable from the start.

    forgets beta: `beta * difference` becomes `difference`. `beta` changes nothing in your
        version. It multiplies the difference of the two log-ratios, inside the sigmoid.

    beta outside: `-F.logsigmoid(beta * difference)` becomes `-beta * F.logsigmoid(difference)`. You
        multiplied the loss by `beta`, which only rescales the learning rate. It belongs *inside*
        the sigmoid, where it says how large a difference is enough.

    divides by beta: `beta * difference` becomes `difference / beta`. You divided by `beta`. The
        implied reward is beta * log(pi / ref): multiply.

    sides exchanged: `beta * difference` becomes `-beta * difference`. The sign of your margin
        is turned: this loss falls when the *rejected* response becomes more probable. Chosen minus
        rejected.

    reference added: `- ref_logp_chosen` becomes `+ ref_logp_chosen`, `- ref_logp_rejected` becomes
        `+ ref_logp_rejected`. You added the reference's difference. A ratio of probabilities is a
        *difference* of logarithms: subtract it.

    quotient of logarithms: `logp_chosen - ref_logp_chosen` becomes `logp_chosen / ref_logp_chosen`,
        `logp_rejected - ref_logp_rejected` becomes `logp_rejected / ref_logp_rejected`. You divided
        one log-probability by the other. All four arguments are logarithms already, so each
        fraction of the formula becomes a difference.

    logarithm of a quotient of logarithms: `logp_chosen - ref_logp_chosen` becomes
        `torch.log(logp_chosen / ref_logp_chosen)`, `logp_rejected - ref_logp_rejected` becomes
        `torch.log(logp_rejected / ref_logp_rejected)`. You took the logarithm once more. The four
        arguments are logarithms of probabilities, and the log of a fraction is the difference of
        two of them.

    overflows: `F.logsigmoid(beta * difference)` becomes
        `torch.log(torch.sigmoid(beta * difference))`. For a very wrong pair the sigmoid is rounded
        to 0 (and exp(300) to infinity), so that your loss is infinite. `F.logsigmoid` computes both
        in one step and stays finite.

    IPO: `-F.logsigmoid(beta * difference)` becomes `(difference - 1 / (2 * beta)) ** 2`.
        This is IPO's loss (Azar et al., 2023), which asks for a difference of 1 / (2 beta). DPO's
        is -log sigmoid.

    forgets the logarithm: `F.logsigmoid` becomes `torch.sigmoid`. That is minus the *probability*
        of the label. The loss is its surprise (negative log-likelihood): minus the logarithm of the
        probability.

    forgets the sign: `-F.logsigmoid` becomes `F.logsigmoid`. That is the log-probability of the
        label, which training would make as small as it can. A loss needs the minus.

    mean: `F.logsigmoid(beta * difference)` becomes `F.logsigmoid(beta * difference).mean()`.
        You took the mean. Return one loss for each pair, (B,); the library takes the mean.

    the reference drifts: `- ref_logp_chosen` becomes `- logp_chosen.detach()`,
        `- ref_logp_rejected` becomes `- logp_rejected.detach()`. You compare the policy with
        *itself* instead of with the frozen reference: the margin is 0 for ever, and nothing holds
        the policy back.

    only the chosen one learns: `- (logp_rejected -` becomes `- (logp_rejected.detach() -`. The
        values are right, but the rejected response counts as a constant: the policy would never
        learn to make it less probable. Both log-probabilities of the policy carry gradients; those
        of the reference have none.
    """,
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
    def case(name: str, rewards, scale: str, atol: float = 1e-6) -> Case:
        rows = []
        for row in rewards:
            mean = math.fsum(row) / len(row)
            spread = math.sqrt(math.fsum((x - mean) ** 2 for x in row) / (len(row) - 1)) + 1e-4
            divisor = spread if scale == "std" else 1
            rows.append([0 if min(row) == max(row) else (x - mean) / divisor for x in row])
        return Case(name, (floats(rewards), scale), floats(rows), atol=atol)

    half = [[1.0, 0.0, 1.0, 0.0]]
    tied = [[0.1] * 7, [0.3] * 7, [0.7] * 7, [0, 0, 0, 0, 0, 0, 1.0]]
    drawn = rng.choice([0.0, 0.5, 1.0, 2.0], size=(3, 5))
    drawn[:, 0], drawn[:, 1] = 0.0, rng.uniform(0.5, 3, size=3).round(2)  # none is tied
    return [
        Case(
            "half of the group right, undivided", (floats(half), "none"), floats([[0.5, -0.5] * 2])
        ),
        case("half of the group right, divided", half, "std"),
        case("three tied groups beside one that is not: exactly 0", tied, "std"),
        case("each group has its own mean", [[0, 1, 2], [10, 10, 13]], "none"),
        case("one tied group, divided: exactly 0", [[0.1] * 7], "std"),
        case("one tied group, undivided: exactly 0", [[0.1] * 7], "none", 0.0),
        case("three random groups, divided", drawn.tolist(), "std", 1e-5),
        case("the same, undivided", drawn.tolist(), "none", 1e-5),
    ]


group_advantages = Exercise(
    reference=grpo.group_advantages,
    cases=_group_cases,
    edits="""
    NaN for a tied group: ` + 1e-4` goes, `.masked_fill(tied, 0.0)` goes. A tied group has the
        deviation 0, and you divide by it. Add 1e-4, and give a tied group exactly 0: one such row
        would make the whole model NaN.

    noise for a tied group: `.masked_fill(tied, 0.0)` goes. Nearly: a tied group must give exactly
        0. The mean of seven times 0.1 is not 0.1 in float32, and that rounding error divided by
        1e-4 is an update made of noise. Find the tied rows, and fill them with 0.

    noise where nothing is divided: `.masked_fill(tied, 0.0)` becomes
        `.masked_fill(tied & (scale == "std"), 0.0)`. Nearly: where `scale` is "none" a tied group
        keeps the rounding error of its mean. It has to be exactly 0 with either `scale`.

    noise where the deviation is rounded: `.masked_fill(tied, 0.0)` becomes
        `.masked_fill(rewards.std(dim=1, keepdim=True) == 0, 0.0)`. You fill rows whose deviation is
        0. But the deviation of seven times 0.1 is rounded too and need not be 0. Compare the
        rewards themselves: the largest with the smallest.

    no 1e-4: ` + 1e-4` goes. Close: the 1e-4 that is added to the deviation is missing. It keeps a
        group whose rewards hardly differ from being blown up.

    the mean of the batch: `.mean(dim=1, keepdim=True)` becomes `.mean()`,
        `.std(dim=1, keepdim=True)` becomes `.std()`, `.masked_fill(tied, 0.0)` goes. You compared
        with the mean of *all* responses. A prompt that is easier than the others would then praise
        all its responses: take mean and deviation along `dim=1`.

    mean and deviation of the batch: `.mean(dim=1, keepdim=True)` becomes `.mean()`,
        `.std(dim=1, keepdim=True)` becomes `.std()`. Your ties are right, but elsewhere you compare
        with the mean of *all* responses and divide by the deviation of all. Both belong to the
        group: `dim=1`.

    the deviation of the batch: `.std(dim=1, keepdim=True)` becomes `.std()`. You divided by the
        deviation of the whole batch. The deviation is that of the group, as the mean is: `dim=1`.

    across the groups, ties apart: `.mean(dim=1` becomes `.mean(dim=0`, `.std(dim=1` becomes
        `.std(dim=0`. Your ties are right, but mean and deviation run along the prompts, `dim=0`.
        The responses to one prompt stand in one row: `dim=1`.

    across the groups: `.mean(dim=1` becomes `.mean(dim=0`, `.std(dim=1` becomes `.std(dim=0`,
        `.amax(dim=1` becomes `.amax(dim=0`, `.amin(dim=1` becomes `.amin(dim=0`. You compared along
        the prompts, `dim=0`. The responses to one prompt stand in one row: compare along `dim=1`.

    always divides: `if scale == "std"` becomes `if True`. You divide by the deviation also where
        `scale` is "none".

    never divides: `if scale == "std"` becomes `if False`. Where `scale` is "std", the difference is
        divided by the group's deviation.

    deviation over G: `.std(dim=1, keepdim=True)` becomes
        `.std(dim=1, keepdim=True, correction=0)`. Your deviation divides the squares by G. The
        paper does not say which is meant; here it is the sample's, over G - 1, which `std()` gives
        without further ado.

    variance: `.std(` becomes `.var(`, `.masked_fill(tied, 0.0)` goes. You divided by the variance.
        The deviation is its root: `std`, not `var`.

    variance, ties apart: `.std(` becomes `.var(`. Your ties are right, but you divided by the
        variance. The deviation is its root: `std`.

    leaves itself out: `rewards - rewards.mean(dim=1, keepdim=True)` becomes `rewards -
        (rewards.sum(dim=1, keepdim=True) - rewards) / (rewards.shape[1] - 1)`. You compared with
        the mean of the *other* responses, as RLOO does. That is G / (G - 1) times as much: GRPO's
        mean is that of the whole group, the response itself included.

    1e-4 under the root: `(rewards.std(dim=1, keepdim=True) + 1e-4)` becomes
        `(rewards.var(dim=1, keepdim=True) + 1e-4).sqrt()`. Nearly: you added the 1e-4 to the
        variance, under the root. It belongs to the deviation: `std(...) + 1e-4`.

    no baseline: `rewards - rewards.mean(dim=1, keepdim=True)` becomes `rewards * 1`,
        `.masked_fill(tied, 0.0)` goes. You did not subtract the mean. Without it every rewarded
        response is made more probable, also the worst of its group.

    upside down: `rewards - rewards.mean(dim=1, keepdim=True)` becomes
        `rewards.mean(dim=1, keepdim=True) - rewards`. The sign is turned: the mean less the reward.
        Better than the group must be positive.

    one column: `.masked_fill(tied, 0.0)` becomes `.masked_fill(tied, 0.0).flatten()`. The numbers
        are right, the shape is not: return (P, G), as `rewards` has it.
    """,
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
    half, equal, log2 = math.log(0.5), math.log(0.25), math.log(2)
    logp, ref = floats([half, equal, equal]), floats([equal, half, equal])  # pi / ref: 2, 1/2, 1
    a, b = rng.uniform(-4, -0.1, size=(2, 2, 3))
    ratio = np.exp(a) / np.exp(b)
    spelled = {
        "k1": np.log(ratio),
        "k2": np.log(ratio) ** 2 / 2,
        "k3": 1 / ratio - 1 + np.log(ratio),
    }
    return [
        Case("k1: twice, half, equally probable", (logp, ref, "k1"), floats([log2, -log2, 0])),
        Case("k2", (logp, ref, "k2"), floats([log2**2 / 2, log2**2 / 2, 0])),
        Case("k3", (logp, ref, "k3"), floats([0.5 - 1 + log2, 2 - 1 - log2, 0])),
        Case(
            "k3: fifty times less probable than under the reference",
            (floats([math.log(0.01)]), floats([half]), "k3"),
            floats([50 - 1 - math.log(50)]),
        ),
        *(
            Case(f"{k}: random log-probabilities", (floats(a), floats(b), k), floats(x), atol=1e-5)
            for k, x in spelled.items()
        ),
    ]


kl_estimate = Exercise(
    reference=grpo.kl_estimate,
    differentiated="logp",
    cases=_kl_cases,
    edits="""
    other way round: `logp - ref_logp` becomes `ref_logp - logp`. You have the two exchanged. The
        tokens were drawn from the policy, and d is `logp - ref_logp`; yours estimates something
        else, and its k1 has the wrong sign.

    k1 turned: `return difference` becomes `return -difference`. The sign of your k1 is turned: d is
        `logp - ref_logp`, positive where the policy holds a token more probable than its reference
        does.

    k3 with the ratio turned: `torch.expm1(-difference) + difference` becomes
        `torch.expm1(difference) - difference`. Your k3 has exp(d). That is PPO's diagnostic, for
        tokens drawn from the *other* policy. Here they come from pi: exp(-d) + d - 1.

    k3 without minus one: `torch.expm1(` becomes `torch.exp(`. Your k3 lacks the - 1: where the two
        policies agree it must be 0.

    k3 without the logarithm: `(-difference) + difference` becomes `(-difference)`. Your k3 lacks
        the + d. Then its mean is 0 and it can be negative: it estimates nothing.

    k3 minus d: `(-difference) + difference` becomes `(-difference) - difference`. In your k3 the
        sign of d is turned: it can be negative. Draw it: exp(-d) falls through 1 at d = 0, and + d
        makes that its lowest point.

    k2 not halved: `0.5 * ` goes. Your k2 is twice too large: half of the square, as in a Taylor
        series.

    k2 and k3 exchanged: `kind == "k2"` becomes `kind == "k3"`. You have k2 and k3 exchanged: k2 is
        half of the square, k3 the one with the exponential.

    always k1: `if kind == "k1"` becomes `if True`. You return k1 for each `kind`. As a loss its
        expected gradient is zero, so it would hold nothing.
    """,
    mistakes=(
        Mistake(
            "weighted by the ratio",
            lambda logp, ref_logp, kind: torch.exp(logp) * grpo.kl_estimate(logp, ref_logp, kind),
            "You weighted by the probability of the token. The tokens were *drawn* with that "
            "probability, so it is in the mean already.",
        ),
        Mistake(
            "mean",
            lambda logp, ref_logp, kind: grpo.kl_estimate(logp, ref_logp, kind).mean(),
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
    def case(name: str, rows: list[str], kind: str, longest: int, shares) -> Case:
        """``shares``: the weight of each token of a row."""
        weights = [[s * (x == "x") for x in row] for row, s in zip(rows, shares, strict=True)]
        return Case(name, (bits(*rows), kind, longest), floats(weights))

    two = [".xxxx", ".x..."]
    each = "sequence: each response counts as much as the other"
    longest_8 = "constant: two responses of at most eight tokens"
    five = "token: each of the five counts as much as the others"
    lengths = rng.permutation([1, 2, 4, 5])[:3]
    rows = [".." + "x" * n + "." * (6 - n) for n in lengths]
    longest = int(rng.integers(7, 12))
    drawn = {
        "sequence": [1 / (3 * n) for n in lengths],
        "constant": [1 / (3 * longest)] * 3,
        "token": [1 / sum(lengths)] * 3,
    }
    return [
        case(each, two, "sequence", 8, [1 / 8, 1 / 2]),
        case(longest_8, two, "constant", 8, [1 / 16, 1 / 16]),
        case(five, two, "token", 8, [1 / 5, 1 / 5]),
        case("a row without a response: 0, not NaN", ["xx", ".."], "sequence", 4, [1 / 4, 0]),
        case("no response at all: 0, not NaN", ["..", ".."], "token", 4, [0, 0]),
        case("a single token counts 1", [".x.", "..."], "token", 4, [1, 0]),
        *(
            case(f"{kind}: three random responses", rows, kind, longest, shares)
            for kind, shares in drawn.items()
        ),
    ]


token_weights = Exercise(
    reference=grpo.token_weights,
    cases=_weight_cases,
    edits="""
    forgets the end: `response_mask.float()` becomes
        `(response_mask & (response_mask.cumsum(1) < response_mask.sum(1, keepdim=True))).float()`.
        The last token of each response has no weight. It is the one that *ends* the response:
        without it no reward ever teaches the model to stop.

    forgets the batch: ` * len(mask)` goes, `len(mask) * max_new_tokens` becomes `max_new_tokens`.
        Your "sequence" and "constant" lack the division by B, the number of responses: the loss
        would grow with the batch.

    always by length: `if normalise == "sequence"` becomes `if True`. You divide by the length of
        each response for each `normalise`. Only GRPO's "sequence" does; "constant" divides by a
        number that no response can change.

    always by tokens: `normalise == "sequence"` becomes `False`, `normalise == "constant"` becomes
        `False`. That is "token" in each case. With "sequence" the *responses* have equal weight, so
        a token of a long one counts less.

    names exchanged: `normalise == "sequence"` becomes `normalise == "token"`. You have "sequence"
        and "token" exchanged. "sequence" divides by the length of each *response* (and by B), so
        responses count alike; "token" by the number of all tokens, so tokens do.

    width of the batch: `len(mask) * max_new_tokens` becomes `mask.numel()`. Your "constant" divides
        by the number of columns, prompt included, which changes from batch to batch. Divide by
        `max_new_tokens`.

    longest of the batch: `len(mask) * max_new_tokens` becomes `len(mask) * mask.sum(1).max()`. Your
        "constant" is the longest response *of this batch*: it changes from batch to batch. Divide
        by `max_new_tokens`.

    NaN for an empty row: `keepdim=True).clamp(min=1)` becomes `keepdim=True)`. A row in which the
        mask keeps nothing gives 0 / 0 = NaN. Divide by at least 1: `.clamp(min=1)`.

    columns count: `mask.sum(dim=1, keepdim=True).clamp(min=1) * len(mask)` becomes
        `torch.tensor(mask.numel())`, `mask.sum().clamp(min=1)` becomes
        `torch.tensor(mask.numel())`. You divided by the number of *columns*, padding and prompt
        included. Count what the mask keeps: `mask.sum(dim=1)`.

    columns count in "sequence": `mask.sum(dim=1, keepdim=True).clamp(min=1) * len(mask)` becomes
        `torch.tensor(mask.numel())`. With "sequence" you share a response's 1 / B among all T
        columns. It is shared among the tokens of the response alone: `mask.sum(dim=1)`.

    columns count in "token": `mask.sum().clamp(min=1)` becomes `torch.tensor(mask.numel())`. With
        "token" you divided by B * T, the number of columns in all rows. Count the tokens that the
        mask keeps: `mask.sum()`.

    the batch twice: `mask.sum().clamp(min=1)` becomes `mask.sum().clamp(min=1) * len(mask)`. With
        "token" you divided by B as well. The tokens of all B responses are counted already, and
        their weights have to sum to 1.

    weight everywhere: `mask / share.to(mask)` becomes `torch.ones_like(mask) / share.to(mask)`. You
        gave each column a weight, whatever the mask says. Multiply by the mask: prompt and padding
        count 0.

    a constant everywhere: `mask / share.to(mask)` becomes
        `(torch.ones_like(mask) if normalise == "constant" else mask) / share.to(mask)`. With
        "constant" you gave prompt and padding the weight that only tokens of a response have.
        Multiply by the mask.

    a count everywhere: `mask / share.to(mask)` becomes `(torch.ones_like(mask) if normalise not in
        ("sequence", "constant") else mask) / share.to(mask)`. With "token" you gave prompt and
        padding a weight. One over the number of tokens is the weight of a token of a response;
        elsewhere it is 0.

    a share everywhere: `mask / share.to(mask)` becomes
        `(torch.ones_like(mask) if normalise == "sequence" else mask) / share.to(mask)`. With
        "sequence" you gave prompt and padding a share of the response. Multiply by the mask.

    weight outside the mask: `mask / share.to(mask)` becomes
        `(mask / share.to(mask)).amax(dim=1, keepdim=True).expand(mask.shape) * 1`. Prompt and
        padding have a weight in your version. Multiply by the mask.
    """,
    hints=(
        "Begin with the mask as numbers, `response_mask.float()`, and divide it: only the divisor "
        "differs.",
        '"sequence" divides by B times the length of the row, (B, 1): '
        '`mask.sum(dim=1, keepdim=True).clamp(min=1)`. "token" divides by `mask.sum()`.',
        '"constant" divides by `len(mask) * max_new_tokens`.',
    ),
)


# --- All of it: see `build` ----------------------------------------------------------------------

learn_from_groups = build.learn_from_groups

"""What lesson 08 asks to build: from prompts to the batch that PPO learns from, by probes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from course_lib.classroom.cases import floats
from course_lib.classroom.check import Case, Exercise
from course_lib.lm.generate import left_pad
from course_lib.rlhf import ppo
from course_lib.rlhf.rollouts import Reward

Model = Callable[[Tensor, Tensor], Tensor]  # (tokens, valid_mask), both (B, T), to logits (B, T, V)


@torch.no_grad()
def _collect_rollout(
    policy: Model,
    reference: Model,
    prompts: list[list[int]],
    reward: Reward,
    end: int,
    uniform: Tensor,
    temperature: float,
    beta: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return tokens, log-probabilities, response mask and KL-shaped rewards, each (B, P + N).

    ``prompts`` are padded with 0 on the left to P columns. Up to N tokens follow, the last of them
    ``end``, then 0 again. Column n of ``uniform`` (B, N) draws the n-th new token: the first at
    which the running sum of the probabilities is above it. The temperature divides all logits.
    """
    tokens, valid = left_pad(prompts)
    mask = torch.zeros_like(valid)
    alive = torch.ones(len(prompts), dtype=torch.bool)
    for u in uniform.T:
        logits = policy(tokens, valid)[:, -1] / temperature
        probabilities = logits.softmax(dim=1)
        token = (probabilities.cumsum(dim=1) <= u[:, None]).sum(dim=1)
        tokens = torch.cat([tokens, torch.where(alive, token, 0)[:, None]], dim=1)
        valid = torch.cat([valid, alive[:, None]], dim=1)
        mask = torch.cat([mask, alive[:, None]], dim=1)
        alive = alive & (token != end)

    logp = ppo.token_logp(policy(tokens, valid) / temperature, tokens, mask)
    ref_logp = ppo.token_logp(reference(tokens, valid) / temperature, tokens, mask)
    responses = [row[keep].tolist() for row, keep in zip(tokens, mask, strict=True)]
    scores = reward(prompts, responses)
    rewards = ppo.terminal_rewards(scores, mask)
    return tokens, logp, mask, ppo.kl_shaped_rewards(rewards, logp, ref_logp, mask, beta)


class TableModel:
    """A language model written down: what follows a token, and what stands at a place.

    The logits of the next token are ``after[token] + at[place]``, (V,), where the place is the
    number of tokens so far that ``valid_mask`` keeps: all, if there is none.
    """

    def __init__(self, after: np.ndarray, at: np.ndarray):
        self.after, self.at = after, at  # (V, V), (places, V)

    def __call__(self, tokens: Tensor, valid_mask: Tensor | None = None) -> Tensor:
        valid = torch.ones_like(tokens) if valid_mask is None else valid_mask
        if tokens.ndim != 2 or valid.shape != tokens.shape:
            shapes = f"{tuple(tokens.shape)} and {tuple(valid.shape)}"
            raise ValueError(f"tokens and valid_mask are both (B, T), got {shapes}")
        if int(tokens.max()) >= len(self.after):
            size = len(self.after)
            raise ValueError(f"tokens are numbers from 0 to {size - 1}, got {int(tokens.max())}")
        return floats(self.after)[tokens] + floats(self.at)[valid.long().cumsum(dim=1)]

    def probabilities(self, text: list[int], temperature: float) -> np.ndarray:
        """Of each token to follow a text without padding, (V,)."""
        logits = (self.after[text[-1]] + self.at[len(text)]) / temperature
        return np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()


class TableReward:
    """A judge written down: what each token of the response is worth; in the prompt a tenth."""

    def __init__(self, worth: np.ndarray):
        self.worth = worth  # (V,)

    def __call__(self, prompts: list[list[int]], responses: list[list[int]]) -> Tensor:
        def points(row: list[int]) -> float:
            return sum(float(self.worth[int(token)]) for token in row)

        return floats([points(x) / 10 + points(y) for x, y in zip(prompts, responses, strict=True)])


def row_by_row(
    policy: TableModel,
    reference: TableModel,
    prompts: list[list[int]],
    reward: TableReward,
    end: int,
    uniform: Tensor,
    temperature: float,
    beta: float,
) -> tuple[tuple[Tensor, ...], float]:
    """The same by hand, one text after the other, no padding in sight, in double precision.

    Also how near a number of ``uniform`` comes to where the next token would have been drawn.
    """
    before = max(map(len, prompts))
    shape = len(prompts), before + uniform.shape[1]
    tokens, mask = np.zeros(shape, dtype=int), np.zeros(shape, dtype=bool)
    logp, rewards = np.zeros(shape), np.zeros(shape)
    nearest = 1.0
    for i, prompt in enumerate(prompts):
        text = list(prompt)
        tokens[i, before - len(prompt) : before] = prompt
        for column, u in enumerate(uniform[i].tolist(), before):
            p, other = (x.probabilities(text, temperature) for x in (policy, reference))
            nearest = min(nearest, np.abs(np.cumsum(p) - u).min())
            text.append(int(np.searchsorted(np.cumsum(p), u, side="right")))
            tokens[i, column], mask[i, column] = text[-1], True
            logp[i, column] = np.log(p[text[-1]])
            rewards[i, column] = -beta * np.log(p[text[-1]] / other[text[-1]])
            if text[-1] == end:
                break
        rewards[i, column] += reward([prompt], [text[len(prompt) :]]).item()
    found = torch.from_numpy(tokens), floats(logp), torch.from_numpy(mask), floats(rewards)
    return found, nearest


SIZE, PLACES = 8, 12  # tokens, 0 is padding; tokens of a text


def _probes(rng: np.random.Generator) -> list[Case]:
    """In the order in which they are tried: each adds one thing that can go wrong."""
    a, b, c, d, e, odd, end = (int(x) for x in 1 + rng.permutation(SIZE - 1))
    low, middle, high = sorted((b, c, d))
    pays = float(rng.uniform(1, 3))

    def table(rows: dict, size: int) -> np.ndarray:
        """Logits (size, SIZE): a token or {token: probability} for each row; others say `odd`."""
        logits = np.full((size, SIZE), -25.0)
        for row in range(size):
            chances = rows.get(row, odd)
            for token, chance in (chances if isinstance(chances, dict) else {chances: 1.0}).items():
                logits[row, token] = np.log(chance)
        return logits + rng.uniform(1, 3, size=(size, 1))  # a constant changes no probability

    def after(rows: dict) -> TableModel:
        return TableModel(table(rows, SIZE), np.zeros((PLACES, SIZE)))

    def counts(rows: dict) -> TableModel:
        return TableModel(np.zeros((SIZE, SIZE)), table(rows, PLACES))

    def numbers(*rows: list[float]) -> Tensor:
        return floats(rows)

    def worth(points: dict) -> TableReward:
        return TableReward(np.array([points.get(token, 0.0) for token in range(SIZE)]))

    half = 0.5  # a number in the middle: the token that is certain, or likely, is drawn
    likely = after({a: {middle: 0.6, low: 0.2, high: 0.2}})
    even = dict.fromkeys((low, middle, high), 1 / 3)
    hot = after({a: {middle: 0.8, low: 0.1, high: 0.1}})
    ends = after({a: b, b: end, end: c})
    two_ends = after({a: end, b: c, c: d, d: e})
    chain = after({a: b, b: c, c: d, d: e})
    leans, colder = (after({a: {b: p, odd: 1 - p}}) for p in (0.9, 0.6))
    against = after({a: {b: 0.2, odd: 0.8}})
    walk = {a: {b: 0.9, odd: 0.1}, b: {c: 0.8, odd: 0.2}, c: {end: 0.7, odd: 0.3}}
    other = {a: {b: 0.4, odd: 0.6}, b: {c: 0.9, odd: 0.1}, c: {end: 0.2, odd: 0.8}}
    three = numbers([half] * 3)
    paid, last_paid = {"reward": worth({b: pays})}, {"reward": worth({end: pays})}
    padding_paid = {"reward": worth({0: 7.0, a: 1.0, d: -2.0, b: pays})}
    dear = {"beta": 0.5} | paid
    lengths = [[a], [c, a], [d, c, a]]
    rows = [
        # name, the mistake that it isolates, policy, prompts, uniform, settings
        ("a token for certain", "the prompt is in the mask", chain, [[a]], numbers([half]), {}),
        (
            *("a prompt of two", "counts the prompt as written", after({a: c, b: c})),
            *([[a, b]], numbers([half]), {}),
        ),
        (
            *("the first token leads elsewhere", "reads the logits too early"),
            *(after({a: d, b: c}), [[a, b]], numbers([half]), {}),
        ),
        (
            *("forty rows, a number for each", "draws its own numbers", likely),
            *([[a]] * 40, numbers(*[[half]] * 40), {}),
        ),
        ("an unlikely token", "takes the most probable", likely, [[a]], numbers([0.9]), {}),
        ("three tokens, one by one", "forgets what it wrote", chain, [[a]], three, {}),
        (
            *("three numbers in a row", "one number for all steps"),
            *(after({x: even for x in (a, b, c, d)}), [[a]], numbers([0.1, 0.9, 0.5]), {}),
        ),
        (
            *("temperature 2, the same token", "log-probabilities before the temperature", hot),
            *([[a]], numbers([half]), {"temperature": 2.0}),
        ),
        (
            *("temperature 2, another token", "draws before the temperature", hot),
            *([[a]], numbers([0.15]), {"temperature": 2.0}),
        ),
        (
            *("the end as the last token", "leaves the end out", ends),
            *([[a]], numbers([half, half]), {}),
        ),
        ("an early end", "goes on after the end", ends, [[a]], numbers([half] * 4), {}),
        (
            *("one of two ends early", "ends all rows together", two_ends),
            *([[a], [b]], numbers([half] * 3, [half] * 3), {}),
        ),
        (
            *("prompts of two lengths", "pads on the right", after({a: d, c: e})),
            *([[a], [b, c]], numbers([half], [half]), {}),
        ),
        (
            *("a model that counts tokens", "shows the model the padding"),
            *(counts({1: b, 2: c, 3: d}), [[a], [d, a]], numbers([half] * 2, [half] * 2), {}),
        ),
        ("a score", "pays every token", ends, [[a]], numbers([half, half]), paid),
        ("a score after an early end", "pays in the last column", ends, [[a]], three, paid),
        ("the end has a worth", "hides the end from the judge", ends, [[a]], three, last_paid),
        (
            *("padding has a worth", "hands the judge the padding", ends),
            *([[a], [d, a]], numbers([half] * 4, [half] * 4), padding_paid),
        ),
        ("a reply cut off", "no end, no score", chain, [[a]], three, paid),
        (
            *("a token that became likelier", "pays for leaving", leans),
            *([[a]], numbers([half]), dear | {"reference": colder}),
        ),
        (
            *("the reference prefers another", "asks for the reference's own choice", leans),
            *([[a]], numbers([half]), dear | {"reference": against}),
        ),
        (
            *("temperature 2 for both", "the reference without the temperature", leans),
            *([[a]], numbers([half]), dear | {"reference": against, "temperature": 2.0}),
        ),
        (
            *("three prices", "charges all at the end", after(walk)),
            *([[a]], numbers([half] * 4), dear | {"reference": after(other)}),
        ),
        (
            *("a reference that counts tokens", "shows the reference the padding", leans, lengths),
            numbers(*[[half]] * 3),
            dear | {"reference": counts({n: {b: 0.2 * n, odd: 1 - 0.2 * n} for n in (1, 2, 3)})},
        ),
    ]
    cases = []
    for name, isolates, policy, prompts, uniform, changed in rows:
        settings = {"reference": policy, "reward": worth({}), "temperature": 1.0, "beta": 0.0}
        cases.append(_case(name, policy, prompts, uniform, end, settings | changed, isolates)[0])
    return [*cases, _by_chance(rng, end)]


def _by_chance(rng: np.random.Generator, end: int) -> Case:
    """Everything at once, with no number where rounding decides which token is drawn."""
    while True:
        policy, reference = (
            TableModel(
                rng.normal(0, 1, size=(SIZE, SIZE)) - [9] + 9 * (np.arange(SIZE) > 0),
                rng.normal(0, 1, size=(PLACES, SIZE)),
            )
            for _ in range(2)
        )
        written = 1 + rng.permutation(SIZE - 1)
        prompts = [
            [int(x) for x in rng.choice(written[written != end], size=size)]
            for size in (2, 1, 4, 3, 2, 1)
        ]
        settings = {
            "reference": reference,
            "reward": TableReward(rng.normal(size=SIZE)),
            "temperature": float(rng.uniform(0.6, 0.9)),
            "beta": float(rng.uniform(0.1, 0.5)),
        }
        uniform = floats(rng.uniform(0.02, 0.98, size=(6, 6)))
        case, nearest = _case("six by chance", policy, prompts, uniform, end, settings, "")
        ended = (case.expected[0] == end).any(dim=1)
        if nearest > 1e-4 and ended.any() and not ended.all():
            return case


def _case(
    name: str,
    policy: TableModel,
    prompts: list[list[int]],
    uniform: Tensor,
    end: int,
    settings: dict,
    isolates: str,
) -> tuple[Case, float]:
    reference, reward, temperature, beta = map(
        settings.get, ("reference", "reward", "temperature", "beta")
    )
    args = (policy, reference, prompts, reward, end, uniform, temperature, beta)
    expected, nearest = row_by_row(*args)
    return Case(name, args, expected, atol=1e-4, isolates=isolates), nearest


collect_rollout = Exercise(
    reference=_collect_rollout,
    cases=_probes,
    seconds=8.0,
    edits="""
    the prompt is in the mask: `mask = torch.zeros_like(valid)` becomes `mask = valid.clone()`. A
        prompt of one token, then one that the policy is certain of. Four tensors of two columns:
        the tokens; log-probabilities, 0 and log 1 = 0; the mask, True for the new token alone; the
        rewards, all 0, since nothing is worth anything here. Compare them one by one.

    counts the prompt as written: `policy(tokens, valid) / temperature, tokens, mask` becomes
        `policy(tokens, valid) / temperature, tokens, valid`. A prompt whose second token the policy
        would never have written. It did not write it: the prompt's log-probabilities are 0, as is
        its mask.

    reads the logits too early: `[:, -1] / temperature` becomes
        `[:, max(0, tokens.shape[1] - 2)] / temperature`. The first token of this prompt leads to
        one token, the second to another. What comes next is said by the logits at the *last*
        position.

    draws its own numbers: `u[:, None]` becomes `torch.rand(len(u), 1)`. Forty rows with the same
        number, 0.5, and so the same token, although others are possible. Chance comes from
        `uniform` here and from nowhere else: row b's n-th token belongs to `uniform[b, n]`. If all
        tokens are right, look at their log-probabilities.

    takes the most probable: `(probabilities.cumsum(dim=1) <= u[:, None]).sum(dim=1)` becomes
        `probabilities.argmax(dim=1)`. Probabilities 0.2, 0.6 and 0.2, and the number is 0.9. The
        running sums are 0.2, 0.8 and 1: the first above 0.9 is that of the third token. The
        log-probability is that of the token which was drawn, likely or not.

    forgets what it wrote: `policy(tokens, valid)[:, -1]` becomes
        `policy(*left_pad(prompts))[:, -1]`. Each new token leads to another. The policy has to
        read what it has written so far: append each token before you ask for the next.

    one number for all steps: `in uniform.T` becomes `in uniform[:, :1].expand_as(uniform).T`.
        Three equally likely tokens, and the numbers 0.1, 0.9 and 0.5. Each step has its own column
        of `uniform`.

    log-probabilities before the temperature: `policy(tokens, valid) / temperature, tokens, mask`
        becomes `policy(tokens, valid), tokens, mask`. Temperature 2 flattens 0.8, 0.1 and 0.1. The
        token is the same, but not its probability: divide the logits (not the probabilities) by
        the temperature before log-probabilities are taken, too.

    draws before the temperature: `[:, -1] / temperature` becomes `[:, -1]`. At temperature 2 the
        number falls to another token than at 1. Divide the logits by the temperature before the
        softmax that you draw from.

    leaves the end out: `mask = torch.cat([mask, alive[:, None]], dim=1)` becomes
        `mask = torch.cat([mask, (alive & (token != end))[:, None]], dim=1)`. The reply ends with
        the token `end`, in the last column. Writing it is an action like any other: it stays, with
        its log-probability, and the mask is True there.

    goes on after the end: `alive = alive & (token != end)` becomes `pass`. The reply is over after
        two of four tokens. After `end` there are zeros, in the tokens as in the other three; the
        shape stays (B, P + N).

    ends all rows together: `(token != end)` becomes `(token != end).all()`. One row ends at once,
        the other goes on. Each row has an end of its own: remember which are still alive.

    pads on the right: `tokens, valid = left_pad(prompts)` becomes
        `tokens, valid = (x.flip(1) for x in left_pad([row[::-1] for row in prompts]))`. Prompts of
        one and of two tokens. Zeros go to the *left* of the shorter one: all replies begin in the
        same column, and the last position of each row is a token.

    shows the model the padding: `policy(tokens, valid)[:, -1]` becomes `policy(tokens)[:, -1]`. The
        policy says what comes by counting the tokens before it. Padding is none: pass
        `valid_mask` along, True at prompts and replies, whenever you call it.

    pays every token: `ppo.terminal_rewards(scores, mask)` becomes `scores[:, None] * mask`. A reply
        of two tokens with a score. It is paid once, at the last token, and at the others there
        is 0.

    pays in the last column: `ppo.terminal_rewards(scores, mask)` becomes
        `ppo.terminal_rewards(scores, torch.ones_like(mask))`. The reply ends before the last
        column. The score belongs to the token `end`, not to the padding behind it.

    hides the end from the judge: `row[keep].tolist()` becomes `row[keep & (row != end)].tolist()`.
        The judge gives points for the end. A response as he gets it is a list with its end token,
        if it has one.

    hands the judge the padding: `row[keep].tolist()` becomes `row[keep | (row == 0)].tolist()`.
        This judge gives points for a 0. What he gets are lists without any padding: the prompts as
        they came, and of each row what the mask keeps.

    no end, no score: `scores = reward(prompts, responses)` becomes
        `scores = reward(prompts, responses) * ~alive`. A reply that is cut off after N tokens,
        without an end. It has a score as well, at its last token.

    pays for leaving: `ref_logp, mask, beta)` becomes `ref_logp, mask, -beta)`. The token has
        probability 0.9 under the policy and 0.6 under the reference. It *costs*
        `beta * (logp - ref_logp)`, taken from the reward where the token stands.

    asks for the reference's own choice: `reference(tokens, valid) / temperature, tokens, mask`
        becomes `reference(tokens, valid) / temperature,
        reference(tokens, valid).argmax(dim=2).roll(1, 1), mask`. The reference would rather have
        written another token. It is asked how probable the *policy's* token is: it reads, and
        writes nothing.

    the reference without the temperature: `reference(tokens, valid) / temperature` becomes
        `reference(tokens, valid)`. Temperature 2 for both. Divide the logits of the reference by
        it, too, or the log-ratio compares two different things.

    charges all at the end: `ppo.kl_shaped_rewards(rewards, logp, ref_logp, mask, beta)` becomes
        `rewards - ppo.terminal_rewards(beta * (logp - ref_logp).sum(dim=1), mask)`. Three tokens,
        each with a log-ratio of its own. Each is charged for itself, where it stands; the score
        comes on top at the last.

    shows the reference the padding: `reference(tokens, valid)` becomes `reference(tokens)`. The
        reference counts tokens, in three rows of different length. It needs `valid_mask` as the
        policy does.
    """,
    hints=(
        "Two parts: a loop over the N columns of `uniform`, in which every row writes one more "
        "token; then, over the whole rectangle at once, log-probabilities of both models, scores, "
        "rewards. Keep along the way: `tokens`, `valid`, `mask`, and which rows are `alive`.",
        "One step: `policy(tokens, valid)[:, -1] / temperature`, softmax, `cumsum(dim=1)`. The "
        "number of running sums that are `<= u[:, None]` is the token. Append it where a row is "
        "alive, 0 elsewhere; append `alive` to `valid` and `mask`; only then drop the rows that "
        "wrote `end`.",
        "After the loop `token_logp(policy(tokens, valid) / temperature, tokens, mask)`, the same "
        "with `reference`, `reward(prompts, [row[keep].tolist() for row, keep in zip(tokens, "
        "mask)])`, then `terminal_rewards` and `kl_shaped_rewards`.",
    ),
)

"""Exercises of lesson 05: attention, its mask, a block, the loss, and sampling from the top."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from course_lib.classroom.cases import bits, case
from course_lib.classroom.check import Case, Exercise
from course_lib.lessons.transformer import build
from course_lib.lm import generate, gpt, losses

learn_merges = build.learn_merges

# --- Attention ---------------------------------------------------------------------------------


def _attend_by_hand(q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """One query, one key at a time: q (T, D), k and v (S, D), mask (T, S)."""
    rows = []
    for t in range(len(q)):
        seen = [s for s in range(len(k)) if mask[t, s]]
        strength = [math.exp(sum(q[t] * k[s]) / len(q[t]) ** 0.5) for s in seen]
        rows.append(sum(w * v[s] for w, s in zip(strength, seen, strict=True)) / sum(strength))
    return np.array(rows)


def _attention_cases(rng: np.random.Generator) -> list[Case]:
    q, k = [[2 * math.log(3), 0, 0, 0]], [[1, 0, 0, 0], [0, 0, 0, 0]]
    v = [[4, 0, 1, 2], [0, 8, 1, -2]]
    book = (60 * torch.eye(3)[[2, 0]], torch.eye(3), [[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    even = (torch.zeros(3, 2), [[5, 1], [-1, 2], [0, 3]], [[1, 0], [3, 6], [5, 0]])
    hand = [
        case(
            "D = 4 and scores of 2 log 3 and 0: weights 3/4 and 1/4",
            (q, k, v, bits("xx")),
            [[3, 2, 1, 1]],
        ),
        case("the same, and the second key must not be seen", (q, k, v, bits("x.")), v[:1]),
        case(
            "one-hot keys, as in a dictionary: each query finds its value",
            (*book, bits("xxx", "xxx")),
            [[7, 8, 9], [1, 2, 3]],
        ),
        case(
            "queries of zero have no preference: the mean of what they may see",
            (*even, bits("x..", "xx.", "xxx")),
            [[1, 0], [2, 3], [3, 2]],
        ),
    ]
    # Ground truth: the batch, the heads and the positions one by one, in double precision.
    q, (k, v) = rng.normal(size=(2, 3, 3, 4)), rng.normal(size=(2, 2, 3, 5, 4))
    causal = np.tril(np.ones((3, 5), dtype=bool), 2)
    each = np.stack([[causal] * 3, [causal & (np.arange(5) > 0)] * 3])  # the second begins later
    drawn = []
    for words, mask in (("", causal), (", a mask for each", each)):
        expected = np.empty_like(q)
        for at in np.ndindex(2, 3):
            seen = np.broadcast_to(mask, (2, 3, 3, 5))[at]
            expected[at] = _attend_by_hand(q[at], k[at], v[at], seen)
        name = f"two texts, three heads, 3 queries, 5 keys{words}"
        drawn.append(case(name, (q, k, v, mask), expected, atol=1e-5))
    # As many queries as keys: exchanging the two would keep the shape.
    q, k, v = rng.normal(size=(3, 4, 3))
    mask = np.tril(np.ones((4, 4), dtype=bool))
    expected = _attend_by_hand(q, k, v, mask)
    return [*hand, *drawn, case("4 queries, 4 keys", (q, k, v, mask), expected, atol=1e-5)]


attention = Exercise(
    reference=gpt.attention,  # its edits change the formula that it wraps
    differentiated="q k v",
    cases=_attention_cases,
    edits="""
    does not scale: ` / math.sqrt(q.shape[-1])` goes. The scores are not scaled. A sum of D products
        grows with D, and softmax of large numbers picks one key and ignores the rest: divide by
        `math.sqrt(q.shape[-1])`.

    divides by D: `math.sqrt(q.shape[-1])` becomes `q.shape[-1]`. You divided by D, so the weights
        come out too even. The spread of a sum of D random products grows with the *root* of D:
        divide by `math.sqrt(q.shape[-1])`.

    counts positions instead of channels: `q.shape[-1]` becomes `q.shape[-2]`. You divided by the
        root of T, the number of queries. A score is a sum over the D *channels*: that is
        `q.shape[-1]`.

    softmax over the queries: `softmax(dim=-1)` becomes `softmax(dim=-2)`. Your softmax runs over
        the queries, so the weights of one *key* sum to 1. Each query shares its attention among the
        keys: `softmax(dim=-1)`.

    softmax over axis 1: `softmax(dim=-1)` becomes `softmax(dim=1)`. With a batch and heads in
        front, axis 1 is no longer that of the keys. Count from the end: `softmax(dim=-1)`.

    masks after softmax: `masked_fill(~mask, -torch.inf).softmax(dim=-1)` becomes
        `softmax(dim=-1).masked_fill(~mask, 0.0)`. You set weights to 0 after softmax, so the
        weights left no longer sum to 1. Set the hidden *scores* to minus infinity before softmax: e
        to that power is 0.

    mask upside down: `~mask` becomes `mask`. Your mask works upside down. It is True where a query
        *may* look: `masked_fill` wants to know where to write, which is `~mask`.

    hides with zero: `-torch.inf` becomes `0.0`. You set hidden scores to 0. Softmax makes e^0 = 1
        of that, a fair share of attention. Use `-torch.inf`, whose share is 0.

    ignores the mask: `.masked_fill(~mask, -torch.inf)` goes. The mask changes nothing in your
        version, so a query sees what comes after it. `scores.masked_fill(~mask, -torch.inf)` hides
        it.

    averages the keys: `@ v` becomes `@ k`. You averaged the keys. A key only says where to look;
        what is handed over is the value: end with `weights @ v`.

    forgets softmax: `-torch.inf).softmax(dim=-1)` becomes `0.0)`. You weighed the values with the
        raw scores, which may be negative and sum to anything. Softmax makes a share of each:
        positive, and 1 in all.

    stops at the weights: ` @ v` goes. Those are the weights, (..., T, S). The answer is what they
        gather: multiply them with `v`.

    weights as constants: `.softmax(dim=-1) @ v` becomes `.softmax(dim=-1).detach() @ v`. The values
        are right, but no gradient passes the weights: queries and keys would never learn where to
        look.
    """,
    hints=(
        "Three steps: a score for each query and key, softmax over the keys, a weighted mean of "
        "the values.",
        "The scores are `q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])`. Where `mask` is False "
        "they become `-torch.inf`.",
        "`weights = scores.masked_fill(~mask, -torch.inf).softmax(dim=-1)`, then `weights @ v`.",
    ),
)


# --- Who may see whom --------------------------------------------------------------------------


def _mask_cases(rng: np.random.Generator) -> list[Case]:
    cases = [
        case("one word on its own sees itself", (1, 1), bits("x")),
        case("three words", (3, 3), bits("x..", "xx.", "xxx")),
        case("one new word, three remembered", (1, 4), bits("xxxx")),
        case("two new words, three remembered", (2, 5), bits("xxxx.", "xxxxx")),
    ]
    for queries, past in rng.integers(2, 12, size=(2, 2)).tolist():
        # Ground truth: the position of each query and of each key, pair by pair.
        expected = [[key <= past + t for key in range(past + queries)] for t in range(queries)]
        name = f"{queries} new words, {past} remembered"
        cases.append(case(name, (queries, past + queries), torch.tensor(expected)))
    return cases


causal_mask = Exercise(
    reference=gpt.causal_mask,
    cases=_mask_cases,
    edits="""
    does not see itself: `keys - queries` becomes `keys - queries - 1`. No position sees itself in
        your mask, and the first one sees nothing at all: softmax over nothing is NaN. A token may
        look at itself; what it must not see is the *next* one.

    sees one too far: `keys - queries` becomes `keys - queries + 1`. Each position sees the token
        after it, the very one that it has to predict. The last key it may see is its own.

    sees the future: `tril` becomes `triu`. Your triangle is the upper one: each position sees what
        comes after it. It would copy the answer. `tril` keeps the lower triangle.

    marks what is hidden: `tril(keys - queries)` becomes `triu(keys - queries + 1)`. Your mask is
        True where a query must *not* look. Here a mask is named for what it keeps: turn it around
        with `~`.

    counts from the first key: `tril(keys - queries)` becomes `tril()`. Your queries stand at the
        beginning of the text. They are the *last* of the keys: earlier ones are remembered. Move
        the diagonal by `keys - queries`, or a model with a cache forgets what it read.

    turned around: `tril(keys - queries)` becomes `tril(keys - queries).T`. Rows and columns are
        exchanged. There is one row for each query, and one column for each key: (queries, keys).

    numbers: `, dtype=torch.bool` goes. The pattern is right, but it holds numbers, which `~mask`
        cannot turn around. Give `dtype=torch.bool` to `torch.ones`.

    scores: `torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)` becomes
        `torch.full((queries, keys), -torch.inf).triu(keys - queries + 1)`. You returned 0 and minus
        infinity, to be added to the scores. Here a mask is `bool`: True where a query may look.
        `attention` does the rest.

    everything: `.tril(keys - queries)` goes. Everyone sees everyone. A position that sees the next
        token has nothing to learn from predicting it: keep the lower triangle with `tril`.
    """,
    hints=(
        "Draw it for three words: one row per query, one column per key, a cross where it may "
        "look. Which triangle is it?",
        "`torch.ones(queries, keys, dtype=torch.bool).tril()` is right while no word is "
        "remembered. With remembered words the first query stands further to the right: by how "
        "much?",
        "`tril(diagonal)` moves the edge to the right: `.tril(keys - queries)`.",
    ),
)


# --- One block ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Layer:
    """A stand-in for a layer: a formula of x. It is also what a learner sees of the layer."""

    formula: str

    def __call__(self, x: Tensor) -> Tensor:
        return eval(self.formula, {"x": x})

    def __repr__(self) -> str:
        return f"x -> {self.formula}"


def _block_cases(rng: np.random.Generator) -> list[Case]:
    x = [[[2, 4]]]
    formulas = ("x / 2", "10 * x", "x / 4", "x + 1", "0 * x")
    halves, tenfold, quarter, plus1, nothing = map(_Layer, formulas)
    stream = rng.normal(size=(2, 3, 4))
    first, second, up = rng.uniform(0.5, 2.0, size=3).round(2).tolist()
    # Ground truth in NumPy. This "attention" adds up all earlier positions.
    after = stream + np.cumsum(stream * first, axis=1)
    expected = after + np.maximum(up * (after * second), 0)
    formulas = (f"{first} * x", "x.cumsum(1)", f"{second} * x", f"({up} * x).relu()")
    return [
        # x / 2 = (1, 2), times 10, plus x: (12, 24); a quarter is (3, 6), plus 1, plus (12, 24).
        case("by hand", (x, halves, tenfold, quarter, plus1), [[[16, 31]]]),
        case(
            "branches that find nothing leave the stream as it is",
            (x, halves, nothing, quarter, nothing),
            x,
        ),
        case(
            "only attention finds something", (x, halves, tenfold, quarter, nothing), [[[12, 24]]]
        ),
        case(
            "two random texts of three words", (stream, *map(_Layer, formulas)), expected, atol=1e-5
        ),
    ]


residual_block = Exercise(
    reference=gpt.residual_block,
    differentiated="x",
    cases=_block_cases,
    edits="""
    norm after the sum: `x + attention(norm1(x))` becomes `norm1(x + attention(x))`, `x +
        feed_forward(norm2(x))` becomes `norm2(x + feed_forward(x))`. You normalise after adding
        (post-norm, as in the first transformers). Then the stream is rescaled in every block, and
        so is its gradient. Here each branch normalises its own *copy*: `x + attention(norm1(x))`.

    no residuals: `x + attention` becomes `attention`, `x + feed_forward` becomes `feed_forward`.
        Nothing is added: each branch replaces the stream by what it found, and what was known
        before is lost. Write `x = x + ...` for both branches.

    forgets the first residual: `x + attention` becomes `attention`. The output of attention
        replaces the stream. Add it: `x = x + attention(norm1(x))`.

    forgets the second residual: `x + feed_forward` becomes `feed_forward`. The output of the
        network replaces the stream. Add it: `x + feed_forward(norm2(x))`.

    normalises the stream: `x = x + attention(norm1(x))` becomes `x = norm1(x); x = x +
        attention(x); x = norm2(x)`, `feed_forward(norm2(x))` becomes `feed_forward(x)`. You
        normalised the stream itself, and added to the norm's output. Only the branch should read
        the normalised copy; the stream is only ever added to: `x = x + attention(norm1(x))`.

    side by side: `x = x + attention` becomes `found = attention`, `x + feed_forward` becomes `x +
        found + feed_forward`. Both branches read the same `x`. Some models do that, but here the
        network reads the stream *after* attention has written to it.

    adds to the start: `x = x + attention` becomes `found = attention`, `norm2(x)` becomes `norm2(x
        + found)`. The network reads the right thing, but you added its output to the stream as it
        was before attention, so what attention found is lost. Store the first sum in `x`.

    uses the first norm twice: `norm2(x)` becomes `norm1(x)`. Both branches use `norm1`. Each norm
        has its own learned weights: the second branch reads `norm2(x)`.

    forgets the first norm: `norm1(x)` becomes `x`. Attention reads the stream as it is: give it
        `norm1(x)`.

    forgets the second norm: `norm2(x)` becomes `x`. The network reads the stream as it is: give it
        `norm2(x)`.

    forgets the norms: `norm1(x)` becomes `x`, `norm2(x)` becomes `x`. The branches read the stream
        as it is, and it grows with every block. Give them `norm1(x)` and `norm2(x)`.

    network first: `attention(norm1(x))` becomes `feed_forward(norm2(x))`, `return x +
        feed_forward(norm2(x))` becomes `return x + attention(norm1(x))`. You ran the network before
        attention. Attention gathers what other positions know; then the network thinks about it.

    writes into the input: `x = x + attention` becomes `x += attention`, `return x +
        feed_forward(norm2(x))` becomes `x += feed_forward(norm2(x)); return x`. The values are
        right, but `x += ...` changes the caller's tensor, and with it what the gradient needs.
        Write `x = x + ...`.

    cuts the stream: `return x + feed` becomes `return x.detach() + feed`. The values are right, but
        the gradient of the stream stops here: the blocks below would learn only through the second
        branch. Add to `x` itself, so that gradients pass unchanged.
    """,
    hints=(
        "Two branches, one after the other. Each reads a normalised copy of `x`, and its output is "
        "added to `x`.",
        "The first is `x = x + attention(norm1(x))`.",
        "The second is the same with `feed_forward` and `norm2`, on the new `x`.",
    ),
)


# --- How surprising was the next token? --------------------------------------------------------


def _nll_cases(rng: np.random.Generator) -> list[Case]:
    log, tokens = np.log, torch.tensor([[0, 1, 2]])
    guess = log([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [0.2, 0.6, 0.2]]])
    # A quotient of exponentials overflows here; log(1 + e) = 1.3132617.
    large = ([[[100, 101], [0, 0]]] * 2, torch.tensor([[0, 0]] * 2))
    surprise = [[log(4), log(1.25)]]
    logits, drawn = rng.normal(size=(2, 5, 6)) * 2, rng.integers(0, 6, size=(2, 5))
    expected = np.empty((2, 4))
    for b, t in np.ndindex(2, 4):  # from probabilities, in double precision, one token at a time
        shares = np.exp(logits[b, t])
        expected[b, t] = log(shares.sum() / shares[drawn[b, t + 1]])
    return [
        case("no idea: 1 in 4", (torch.zeros(1, 2, 4), torch.tensor([[3, 1]])), [[log(4)]]),
        case(
            "probabilities 1/4 for the second token, 4/5 for the third", (guess, tokens), surprise
        ),
        case("logits may be shifted: only their differences count", (guess + 7, tokens), surprise),
        case("logits of a hundred", large, [[1.3132617], [1.3132617]], atol=1e-4),
        case("two random texts of five tokens", (logits, drawn), expected, atol=1e-5),
    ]


next_token_nll = Exercise(
    reference=losses.next_token_nll,
    differentiated="logits",
    cases=_nll_cases,
    edits="""
    does not shift: `logits[:, :-1], tokens[:, 1:]` becomes `logits, tokens`. Each position is
        compared with its *own* token, which it has just read: a model would only learn to repeat.
        Position t predicts token t + 1: take `logits[:, :-1]` and `tokens[:, 1:]`.

    drops the last of both: `tokens[:, 1:]` becomes `tokens[:, :-1]`. You dropped the last position
        of both, so each is still compared with its own token. Drop the *first* token: `tokens[:,
        1:]`.

    shifts the wrong way: `logits[:, :-1], tokens[:, 1:]` becomes `logits[:, 1:], tokens[:, :-1]`.
        You compare each position with the token *before* it. The logits at t are about the token at
        t + 1: `logits[:, :-1]` and `tokens[:, 1:]`.

    forgets the sign: `nll.view` becomes `-nll.view`. Those are log-probabilities: never positive,
        and best when large. A loss is minimised: turn the sign.

    averages: `nll.view(targets.shape)` becomes `nll.mean()`. You averaged over all tokens. Return
        one number per token, (B, T - 1): the loss takes the mean, since it knows which tokens
        count. `F.cross_entropy` averages unless you give `reduction="none"`.

    in one row: `.view(targets.shape)` goes. The numbers are right but stand in one long row. Give
        them back their shape, (B, T - 1): `.view(tokens[:, 1:].shape)`.

    forgets softmax: `F.cross_entropy(guesses.flatten(0, 1), targets.flatten(), reduction="none")`
        becomes `-guesses.gather(-1, targets[..., None])`. You read off the logits themselves. They
        are not log-probabilities until `log_softmax(-1)` has made the probabilities of a row sum to
        1.

    softmax twice: `guesses.flatten(0, 1)` becomes `guesses.flatten(0, 1).softmax(-1)`. You took
        softmax twice: `F.cross_entropy` does it itself, and wants the logits as they are.

    stops at the probability: `nll.view` becomes `nll.neg().exp().view`. Those are probabilities.
        The surprise is minus their *logarithm*, so that the surprises of the tokens of a text add
        up.

    softmax over time: `F.cross_entropy(guesses.flatten(0, 1), targets.flatten(), reduction="none")`
        becomes `-guesses.log_softmax(1).gather(-1, targets[..., None])`. Your softmax runs over the
        positions. At each position the probabilities of the V *tokens* sum to 1: use the last
        dimension.

    in bits: `nll.view(targets.shape)` becomes `nll.view(targets.shape) / math.log(2)`. You measured
        in bits. Here the surprise is in nats, with the natural logarithm: do not divide by log 2.

    overflows: `F.cross_entropy(guesses.flatten(0, 1), targets.flatten(), reduction="none")` becomes
        `-(guesses.exp() / guesses.exp().sum(-1, keepdim=True)).log().gather(-1, targets[...,
        None])`. You took `exp` of the logits. At 100 that is more than float32 can hold, and
        infinity divided by infinity is NaN. `log_softmax` subtracts the largest logit first.
    """,
    hints=(
        "First line up guess and target: which positions of `logits` have a next token, and which "
        "tokens are somebody's next token?",
        "`logits[:, :-1]` goes with `tokens[:, 1:]`. `log_softmax(-1)` gives the log-probability "
        "of every token; `gather` reads off that of the one that came.",
        '`F.cross_entropy(guesses.flatten(0, 1), targets.flatten(), reduction="none")` does both; '
        "give the answer the shape of the targets.",
    ),
)


# --- Sampling from the top ---------------------------------------------------------------------


def _kept(logits: np.ndarray, *rows: str) -> np.ndarray:
    """Logits with minus infinity wherever the picture has no "x"."""
    return np.where(bits(*rows).view(logits.shape), logits, -np.inf)


def _top_p_cases(rng: np.random.Generator) -> list[Case]:
    falling, mixed = np.log([0.5, 0.3, 0.15, 0.05]), np.log([0.05, 0.5, 0.15, 0.3])
    sure = np.log([0.02, 0.02, 0.95, 0.01])
    both = np.stack([mixed + 5, sure - 2])
    # Ground truth: take the most probable token that is left, until the sum reaches p.
    probabilities = rng.dirichlet(np.ones(6), size=3)
    sums = np.sort(probabilities, axis=1)[:, ::-1].cumsum(axis=1)
    edges = np.sort(np.append(sums[:, :-1].ravel(), 0.3))
    edges = edges[(edges >= 0.3) & (edges < 0.97)]
    widest = int(np.argmax(np.diff(edges))) if len(edges) > 1 else 0
    p = float(np.mean(edges[widest : widest + 2]))  # far from where rounding would decide
    keep = np.zeros((3, 6), dtype=bool)
    for chances, kept in zip(probabilities, keep, strict=True):
        while chances[kept].sum() < p:
            kept[np.where(kept, -1, chances).argmax()] = True
    logits = np.log(probabilities) + rng.normal(size=(3, 1))
    filtered = np.where(keep, logits, -np.inf)
    return [
        case(
            "0.5 is short of p = 0.7, 0.5 + 0.3 reaches it", (falling, 0.7), _kept(falling, "xx..")
        ),
        case("the same in another order", (mixed, 0.7), _kept(mixed, ".x.x")),
        case("one token alone exceeds p", (sure, 0.6), _kept(sure, "..x.")),
        case("p = 1 keeps all", (mixed, 1.0), mixed),
        case("logits need not be log-probabilities", (both, 0.9), _kept(both, ".xxx", "..x.")),
        case(f"three random texts of one, p = {p:.2f}", (logits[:, None], p), filtered[:, None]),
        case("the same as three rows", (logits, p), filtered),
    ]


top_p_filter = Exercise(
    reference=generate.top_p_filter,
    cases=_top_p_cases,
    edits="""
    drops the token that crosses: `before >= p` becomes `before + probabilities > p + 1e-6`. You
        dropped the token that carries the sum across p, so less than p is left; where one token
        alone exceeds p, nothing is left at all. A token stays while the sum *before* it is below p:
        `cumsum - probability < p`.

    counts the token itself: `before >= p` becomes `before + probabilities >= p`. Your sum holds the
        token itself, so the one that brings it to p is dropped. Compare the sum *before* it with p.

    keeps the rest: `before >= p` becomes `before < p`. You kept the unlikely tokens and hid the
        likely ones. `masked_fill` hides where its condition is True: that is where the sum before a
        token has already reached p.

    starts from the bottom: `descending=True` becomes `descending=False`. You sorted upwards, so the
        *least* probable tokens fill up p first. Sort with `descending=True`.

    hides with zero: `-torch.inf` becomes `0.0`. You set the logits of the other tokens to 0.
        Softmax gives e^0 = 1 a share: use `-torch.inf`.

    leaves them sorted: `torch.empty_like(logits).scatter(-1, order, ordered)` becomes `ordered`.
        The right logits, in the wrong places: they still stand in order of size, so the
        probabilities belong to other tokens. Put them back: `torch.empty_like(logits).scatter(-1,
        order, ordered)`.

    gathers instead of scattering: `torch.empty_like(logits).scatter(-1, order, ordered)` becomes
        `ordered.gather(-1, order)`. You used `gather` with `order` to undo the sort. `order` says
        where each sorted logit came *from*, so it must be written there: `scatter(-1, order,
        ordered)`.

    does not sort: `logits.sort(dim=-1, descending=True)` becomes `logits,
        torch.arange(logits.shape[-1]).expand_as(logits)`. You added up the tokens in the order of
        their numbers. The fewest tokens that reach p are the most probable ones: sort first, with
        `descending=True`.

    adds up logits: `ordered.softmax(dim=-1)` becomes `ordered`. You added up logits. p is a
        probability: apply `softmax` before `cumsum`.

    compares each with p: `before >= p` becomes `probabilities < p`. You compared each token's own
        probability with p. It is their *sum*, from the most probable on, that should reach p.

    returns log-probabilities: `scatter(-1, order, ordered)` becomes `scatter(-1, order,
        ordered).log_softmax(-1)`. You normalised what is left. Return the logits that stay as they
        came in: whoever samples takes softmax.

    returns probabilities: `scatter(-1, order, ordered)` becomes `scatter(-1, order,
        ordered).softmax(-1)`. You returned probabilities. Return logits, as they came in, with
        minus infinity for the tokens that are out: whoever samples takes softmax.
    """,
    hints=(
        "Sort the logits, most probable first, and keep `order`, so that you can put them back: "
        "`ordered, order = logits.sort(dim=-1, descending=True)`.",
        "`probabilities.cumsum(-1) - probabilities` is the sum of all tokens *before* each. A "
        "token stays while that is below p, so the first always does.",
        "`ordered.masked_fill(before >= p, -torch.inf)`, then "
        "`torch.empty_like(logits).scatter(-1, order, ordered)`.",
    ),
)

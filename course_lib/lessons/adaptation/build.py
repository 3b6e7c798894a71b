"""What lesson 06 asks to build: fine-tuning with adapters, judged by what it does in probes."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.classroom.cases import bits, floats, import_optimizers
from course_lib.classroom.check import Case, Exercise, Mistake

MicroBatch = tuple[Tensor, Tensor, Tensor]  # hidden (B, T, C), tokens (B, T), mask (B, T) bool


def _train_lora(
    updates: list[list[MicroBatch]],
    weight: Tensor,
    a: Tensor,
    b: Tensor,
    scale: float,
    learning_rate: float,
) -> tuple[Tensor, Tensor]:
    """Return A (r, C) and B (V, r) after one step of gradient descent per update.

    ``hidden`` comes from frozen layers. ``weight`` (V, C), frozen too, and its adapter turn it into
    logits of the next token. The loss of an update is the mean surprise over the response tokens of
    all its micro-batches together.
    """
    a, b = a.clone().requires_grad_(), b.clone().requires_grad_()
    optimizer = torch.optim.SGD([a, b], lr=learning_rate)
    for update in updates:
        count = sum(int(mask.sum()) for _, _, mask in update)
        optimizer.zero_grad()
        for hidden, tokens, mask in update:
            logits = F.linear(hidden, weight) + scale * F.linear(F.linear(hidden, a), b)
            logp = logits[:, :-1].log_softmax(dim=-1)
            chosen = logp.gather(-1, tokens[:, 1:, None])[..., 0]
            loss = -(chosen * mask[:, 1:]).sum() / count
            loss.backward()
        optimizer.step()
    return a.detach(), b.detach()


def _gradients(
    update: list[MicroBatch], weight: np.ndarray, a: np.ndarray, b: np.ndarray, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """Those of A and B, token by token, with the formulas of the lesson."""
    of_a, of_b, count = np.zeros_like(a), np.zeros_like(b), 0
    for hidden, tokens, mask in update:
        for i, t in mask.nonzero().tolist():
            u = hidden[i, t - 1].numpy().astype(float)
            logits = weight @ u + scale * b @ (a @ u)
            g = np.exp(logits - logits.max())
            g /= g.sum()
            g[int(tokens[i, t])] -= 1.0
            of_b += scale * np.outer(g, a @ u)
            of_a += scale * np.outer(b.T @ g, u)
            count += 1
    return of_a / count, of_b / count


def _by_hand(updates, weight, a, b, scale, learning_rate, b_first=False) -> tuple[Tensor, Tensor]:
    """The same without autograd, in double precision; ``b_first``: A follows from the new B."""
    weight, a, b = (np.array(x, dtype=float) for x in (weight, a, b))
    for update in updates:
        of_a, of_b = _gradients(update, weight, a, b, scale)
        b = b - learning_rate * of_b
        if b_first:
            of_a, _ = _gradients(update, weight, a, b, scale)
        a = a - learning_rate * of_a
    return floats(a), floats(b)


def _b_first(updates, weight, a, b, scale, learning_rate):
    return _by_hand(updates, weight, a, b, scale, learning_rate, b_first=True)


def _text(picture: str, hidden: np.ndarray, tokens: list[int]) -> MicroBatch:
    """One row: its mask, response "x" and the rest "."; its vectors (T, C) and its tokens."""
    return floats(hidden)[None], torch.tensor([tokens]), bits(picture)


def _drawn(rng: np.random.Generator, pictures: list[str], words: int, width: int) -> MicroBatch:
    """A micro-batch of chance, a row for each picture."""
    shape = len(pictures), len(pictures[0])
    hidden = floats(rng.normal(size=(*shape, width)))
    return hidden, torch.tensor(rng.integers(words, size=shape)), bits(*pictures)


def _probes(rng: np.random.Generator) -> list[Case]:
    """Cases in the order in which they are tried: each adds one thing that can go wrong."""
    import_optimizers()
    rate, word, other = float(rng.uniform(0.2, 0.3)), *rng.permutation(2).tolist()
    # Two words, even odds, A u = 2: each entry of B has the gradient 1 or -1, and Adam's first
    # step is that of gradient descent.
    even, one, zeros = np.zeros((2, 2)), np.array([[1.0, rng.normal()]]), np.zeros((2, 1))
    start, twos = (even, one, zeros, 1.0, rate), np.array([2.0, 0.0])
    long = (even, one * [0.1, 1], zeros, 1.0, rate)  # long vectors, and A u = 2 all the same
    sure = np.zeros((2, 2))
    sure[word, 1], sure[other, 1] = 300.0, -300.0  # after the input (0, 1) `word` is certain
    knows = (sure, one, zeros, 1.0, rate)

    def same(picture, u, token):  # the same vector and the same token again and again
        return _text(picture, np.tile(u, (len(picture), 1)), [token] * len(picture))

    pull, push = same(".xx", twos, word), same(".xx", twos, other)
    certain = same(".xx", np.array([0.0, 1.0]), word)
    # Five words, three channels, rank 2.
    weight, a, b = (0.7 * rng.normal(size=shape) for shape in ((5, 3), (2, 3), (5, 2)))
    scale = float(rng.uniform(2, 3))
    x, y, z, *rest = rng.permutation(5).tolist()
    u, v, w = rng.normal(size=(3, 3))
    across, along = np.array([1.5, 0.0, 0.0]), np.array([0.0, 1.0, -1.0])
    blind = a * [0, 1, 1]  # this A sees nothing of `across`
    at_zero, moving = (weight, a, 0 * b, 1.0, 0.5), (weight, a, b, scale, 0.2)
    rank_1 = (a[:1], 0 * b[:, :1])
    rows = [
        # name, the mistake that it isolates, updates, the other arguments
        ("one token to learn", "climbs", [[same(".x.", twos, word)]], start),
        ("as long as B is zero", "moves A after B", [[same(".x.", 10 * twos, word)]], long),
        ("two tokens to learn", "adds up the tokens", [[pull]], start),
        (
            *("one token to learn, and three others", "divides by all tokens"),
            *([[same(".x..", twos, word)]], start),
        ),
        (
            "five words",
            "takes the steps of Adam",
            [[same(".xx", u, x)]],
            (weight, *rank_1, 1.0, 0.5),
        ),
        (
            *("a scale that is not 1", "forgets the scale", [[same(".xx", u, x)]]),
            (weight, *rank_1, scale, 0.5),
        ),
        (
            *("B is not zero, and A u is", "leaves A alone", [[same(".xx", across, x)]]),
            (weight, blind[:1], b[:, :1], scale, 0.5),
        ),
        ("A has two rows", "divides by the rank", [[same(".xx", u, x)]], moving),
        (
            *("another vector at the last token", "predicts the token itself"),
            *([[_text(".xx", [u, u, v], [x, y, y])]], moving),
        ),
        (
            *("a prompt", "learns the prompt"),
            *([[_text("..xx", [u, v, v, w], [x, z, y, y])]], moving),
        ),
        (
            *("prompt, response and padding", "one column late"),
            *([[_text("..xx..", [u, v, w, -u, -v, -w], [x, y, z, *rest, x])]], moving),
        ),
        (
            *("a short response beside a long one", "a mean of row means"),
            *([[_drawn(rng, [".x...", "..xxx"], 5, 3)]], moving),
        ),
        (
            "three micro-batches: the second undoes the first, the third is known",
            *("steps after every micro-batch", [[pull, push, certain]], knows),
        ),
        (
            *("two micro-batches, the second undoes the first", "the last micro-batch alone"),
            *([[pull, push]], start),
        ),
        (
            *("the same micro-batch twice", "adds up the micro-batches"),
            *([[same(".xx", u, x)] * 2], moving),
        ),
        (
            *("micro-batches of one and of three tokens", "a mean of means"),
            *([[_drawn(rng, ["..x.."], 5, 3), _drawn(rng, ["..xxx"], 5, 3)]], moving),
        ),
        (
            *("two updates that have nothing in common", "never clears the gradients"),
            *([[same(".xx", across, x)], [same(".xx", along, y)]], at_zero),
        ),
        (
            *("an update in which A u and B are zero, then another", "trains the frozen weight"),
            [[same(".xx", across, x)], [same(".xx", across + along, y)]],
            (weight, blind, 0 * b, scale, 0.5),
        ),
        (
            *("three updates of different sizes", "counts the tokens of the first update"),
            [
                [_drawn(rng, ["..xx.", ".xx.."], 5, 3)],
                [_drawn(rng, ["...xx"], 5, 3), _drawn(rng, [".xxxx", "..x.."], 5, 3)],
                [_drawn(rng, ["..xxx", "...x."], 5, 3), _drawn(rng, [".x..."], 5, 3)],
            ],
            moving,
        ),
    ]
    roughly = {
        "climbs": 0.75 * rate,
        "moves A after B": 0.75 * rate,
        "adds up the tokens": 4e-3,
        "divides by all tokens": 4e-3,
    }
    cases = []
    for name, isolates, updates, others in rows:
        args = (updates, *(floats(o) if isinstance(o, np.ndarray) else o for o in others))
        atol = roughly.get(isolates, 2e-5)
        cases.append(Case(name, args, _by_hand(*args), atol=atol, isolates=isolates))
    return cases


train_lora = Exercise(
    reference=_train_lora,
    cases=_probes,
    seconds=8.0,
    edits="""
    climbs: `loss = -(chosen` becomes `loss = (chosen`. The smallest case: two words, a text of
        three tokens, one of which is to be learned. `hidden[:, 0]` predicts `tokens[:, 1]`, and B,
        which is zero, takes one step of `learning_rate` times its gradient. Yours went the other
        way, or nowhere, or much too far: make the token *more* probable, and see that the mask
        stands beside the right prediction.

    adds up the tokens: `/ count` goes. Two tokens to learn, both the same. The loss is the *mean*
        over them, so the step is as long as for one: divide the sum by the number of tokens that
        the mask keeps, and see that it keeps both.

    divides by all tokens: `int(mask.sum())` becomes `mask[:, 1:].numel()`. One token is to be
        learned, others stand around it. Divide by the number of tokens that the mask *keeps*: a
        `.mean()` over all would make the step shorter the more padding there is.

    takes the steps of Adam: `torch.optim.SGD([a, b]` becomes `torch.optim.Adam([a, b]`. Five words
        now, and the gradients are no longer 1 and -1. A step of plain gradient descent is
        `learning_rate` times the gradient, `torch.optim.SGD`. Adam's first step has the length
        `learning_rate` in every entry. If you use neither, look at the frozen part: the logits are
        `F.linear(hidden, weight)` and the correction.

    forgets the scale: `scale * F.linear(F.linear(hidden, a), b)` becomes
        `F.linear(F.linear(hidden, a), b)`. The same text with a `scale` that is not 1. It stands
        before B A u in the logits, `scale * F.linear(F.linear(hidden, a), b)`, and so in the
        gradient.

    leaves A alone: `torch.optim.SGD([a, b]` becomes `torch.optim.SGD([b]`. B is not zero here, and
        A sees nothing of the input, so this time A alone has a gradient. Both matrices learn: give
        both to the optimiser, and let the gradient flow through both.

    divides by the rank: `logits = F.linear(hidden, weight) + scale *` becomes
        `logits = F.linear(hidden, weight) + scale / len(a) *`. A has two rows and B two columns,
        and both have a gradient. `scale` is alpha / r already: use it as it is. If you compute
        gradients by hand, that of B is an outer product of g and A u, that of A of B^T g and u,
        each times `scale`.

    predicts the token itself: `logits[:, :-1]` becomes `logits[:, 1:]`. The vector at the last
        token differs from those before it, and must not matter: nothing follows it.
        `hidden[:, t]` predicts `tokens[:, t + 1]`, so predictions lose their last column and tokens
        their first.

    learns the prompt: `mask[:, 1:]).sum()` becomes `1.0).sum()`, `int(mask.sum())` becomes
        `mask[:, 1:].numel()`. This text begins with a prompt of two tokens, where the mask is
        False. What the prompt says is given: only the surprise at tokens that the mask keeps
        counts.

    one column late: `mask[:, 1:]).sum()` becomes `mask[:, :-1]).sum()`, `int(mask.sum())` becomes
        `int(mask[:, :-1].sum())`. Prompt, response, padding, all different. The mask marks the
        tokens to be *learned*: it is cut like the tokens, `mask[:, 1:]`, and not like the
        predictions. Yours leaves out the first token of the response, or takes one beside it.

    a mean of row means: `-(chosen * mask[:, 1:]).sum() / count` becomes
        `-((chosen * mask[:, 1:]).sum(1) / mask.sum(1)).mean() / len(update)`. Two rows, one token
        to learn in the first, three in the second. All four count the same: one sum over both rows,
        divided by four.

    steps after every micro-batch: `loss.backward()` becomes
        `loss.backward(); optimizer.step(); optimizer.zero_grad()`. Three micro-batches in one
        update: the second asks for the opposite of the first, the third is known already. Their
        gradients add up to zero, and nothing should move. All of them are taken at the same A and
        B: step once, after the last.

    the last micro-batch alone: `loss.backward()` becomes `optimizer.zero_grad(); loss.backward()`.
        Two micro-batches, and the second asks for the opposite of the first: together nothing
        should move. `backward()` adds to the gradients that are there. Clear them once per update,
        before its first micro-batch.

    adds up the micro-batches: `/ count` becomes `/ mask.sum()`. The same micro-batch twice in one
        update. The loss is a mean over the tokens of both, so the step is that of one alone. Yours
        is longer: divide by the number of tokens in the whole *update*.

    a mean of means: `/ count` becomes `/ mask.sum() / len(update)`. One token in the first
        micro-batch, three in the second. All four count the same: divide each sum by the tokens of
        the whole update, four. A mean of the two means gives the lonely token half of the say.

    never clears the gradients: `optimizer.zero_grad()` goes. Two updates. The second begins with A
        and B as the first has left them, and with gradients of its own: `zero_grad()` once per
        update, or the first pulls again.

    trains the frozen weight: `optimizer = torch.optim.SGD([a, b]` becomes
        `weight = weight.clone().requires_grad_(); optimizer = torch.optim.SGD([weight, a, b]`. In
        the first update A u and B are zero, so A and B have no gradient, and the second should
        find everything as it was. Yours does not: `weight` has moved. It is frozen.

    counts the tokens of the first update: `for _, _, mask in update)` becomes
        `for _, _, mask in updates[0])`. Three updates with different numbers of tokens. Each is
        divided by its own: count anew in every update.
    """,
    mistakes=(
        Mistake(
            "moves A after B",
            _b_first,
            "As long as B is zero A has no gradient, and in this one update only B should move. If "
            "you move B first and then ask for the gradient of A, it is that of another model: "
            "ask for both, then move both. If your A moves for another reason, look whether "
            "something else than its gradient moves it, such as a decay of the weights.",
        ),
    ),
    hints=(
        "Two loops, one in the other. The outer: clear the gradients, go through the micro-"
        "batches, take one step. The inner: logits, surprise at each next token, masked sum, "
        "`backward()`.",
        "Begin with copies, `a.clone().requires_grad_()`, and count the response tokens of the "
        "whole update first. Each micro-batch gives its *sum* divided by that count: then the "
        "gradients that `backward()` adds up are those of the mean over all tokens.",
        "`logits = F.linear(hidden, weight) + scale * F.linear(F.linear(hidden, a), b)`; "
        "`logits[:, :-1].log_softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0]` are the "
        "log-probabilities of the next tokens, and `mask[:, 1:]` says which of them count.",
    ),
)

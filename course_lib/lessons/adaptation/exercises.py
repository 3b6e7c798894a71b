"""Exercises of lesson 06: a few-shot prompt, the mask of fine-tuning, LoRA, and mean pooling."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from course_lib.classroom.cases import bits, case, floats
from course_lib.classroom.check import Case, Exercise
from course_lib.lessons.adaptation import build
from course_lib.lm import encoder, finetune, lora, prompting

# --- A prompt with examples --------------------------------------------------------------------


def _prompt_cases(rng: np.random.Generator) -> list[Case]:
    task, hot, up = "Write the opposite.", ("hot", "cold"), ("up", "down")
    w = [f"word{i}" for i in rng.choice(100, size=7, replace=False)]
    expected = (
        f"Continue.\n\nInput: {w[0]}\nOutput: {w[1]}\n\nInput: {w[2]}\nOutput: {w[3]}\n"
        f"\nInput: {w[4]}\nOutput: {w[5]}\n\nInput: {w[6]}\nOutput:"
    )
    shots = [(w[0], w[1]), (w[2], w[3]), (w[4], w[5])]
    return [
        Case(
            "one example",
            (task, [hot], "big"),
            "Write the opposite.\n\nInput: hot\nOutput: cold\n\nInput: big\nOutput:",
        ),
        Case("no example (zero-shot)", (task, [], "big"), f"{task}\n\nInput: big\nOutput:"),
        Case(
            "no instruction: the examples alone say what to do",
            ("", [up, hot, ("in", "out")], "big"),
            "Input: up\nOutput: down\n\nInput: hot\nOutput: cold\n\nInput: in\nOutput: out"
            "\n\nInput: big\nOutput:",
        ),
        Case("neither instruction nor example", ("", [], "big"), "Input: big\nOutput:"),
        Case("three random examples", ("Continue.", shots, w[6]), expected),
    ]


few_shot_prompt = Exercise(
    reference=prompting.few_shot_prompt,
    cases=_prompt_cases,
    edits=r"""
    ends with a blank: `Output:"])` becomes `Output: "])`. Your prompt ends with a blank. The
        tokenizer keeps the blank *before* a word in that word's token, so the model now looks for a
        rare token without one. End with "Output:".

    ends with a new line: `Output:"])` becomes `Output:\n"])`. Your prompt ends with a new line. In
        the examples the answer follows on the same line: end with "Output:".

    does not ask: `\nOutput:"])` becomes `"])`. Your prompt stops at the question. The model would
        go on with "Output:", or with more of the question. Write "Output:" yourself, so that the
        answer comes next.

    forgets the question: `[*parts, f"Input: {question}\nOutput:"]` becomes `parts`. The question is
        missing: after the examples comes one more input, with an output left open.

    forgets the instruction: `[instruction] if instruction else []` becomes `[]`. The instruction is
        missing. It comes first, and an empty line after it.

    forgets the answers: `Output: {a}` becomes `Output:`. Your examples have no answers. The answers
        are what the model learns from here: "Output: " and the second part of each shot.

    question and answer exchanged: `{q}\nOutput: {a}` becomes `{a}\nOutput: {q}`. Question and
        answer are exchanged in your examples: a shot is (question, answer), and the question is the
        input.

    examples backwards: `in shots` becomes `in reversed(shots)`. Your examples come in reverse. Keep
        their order: the model weighs the last ones more, so order is part of the experiment.

    no empty line: `"\n\n"` becomes `"\n"`. There is no empty line between the parts. It tells the
        model where one example ends: join the parts with "\n\n".

    no blank after the colons: `Input: {q}\nOutput: {a}` becomes `Input:{q}\nOutput:{a}`,
        `Input: {question}` becomes `Input:{question}`. There is no blank after your colons. The
        blank belongs to the token of the word that follows: write "Input: " and "Output: ".

    an empty instruction leaves a gap: `[instruction] if instruction else []` becomes
        `[instruction]`. Without an instruction your prompt begins with two new lines. Leave the
        instruction out of the list of parts where it is empty.

    an empty list of examples leaves a gap: `[f"Input: {q}\nOutput: {a}" for q, a in shots]` becomes
        `["\n\n".join(f"Input: {q}\nOutput: {a}" for q, a in shots)]`. Without examples your prompt
        has a double gap. Put all parts into one list, each example as a part of its own, and join
        once.

    an empty line before the output: `{q}\nOutput: {a}` becomes `{q}\n\nOutput: {a}`,
        `{question}\nOutput:` becomes `{question}\n\nOutput:`. There is an empty line between your
        inputs and outputs. The two belong together: "Output:" begins the next line. The empty line
        stands between the parts.
    """,
    hints=(
        'Make a list of parts, and join them with an empty line: `"\\n\\n".join(parts)`.',
        'A shot is the part f"Input: {q}\\nOutput: {a}". The question is the same with nothing '
        'after "Output:", not even a blank.',
        "Begin the list with the instruction only if there is one: "
        "`parts = [instruction] if instruction else []`.",
    ),
)


# --- Which tokens to learn ---------------------------------------------------------------------


def _rows(*pictures: str) -> tuple[tuple[Tensor, Tensor, int], Tensor]:
    """Arguments and mask of rows spelled out: prompt ".", response "x", padding "_"."""
    prompts = torch.tensor([row.index("x") for row in pictures])
    lengths = torch.tensor([len(row.rstrip("_")) for row in pictures])
    return (prompts, lengths, len(pictures[0])), bits(*pictures)


def _mask_cases(rng: np.random.Generator) -> list[Case]:
    rows = rng.integers(1, 5, size=(4, 2))  # tokens of each prompt, of each response
    rows[0] = rows.max() + 1  # one row is longer than all others, as long as T
    width = int(rows.sum(axis=1).max())
    drawn = [("." * p + "x" * r).ljust(width, "_") for p, r in rows]
    return [
        case("three tokens of prompt, two of response, no padding", *_rows("...xx")),
        case("a short text beside a long one: padding is not learned", *_rows("...xxx", ".xx___")),
        case("a response of one token: the end of the text itself", *_rows("..x__", "...x_")),
        case("four random rows", *_rows(*drawn)),
    ]


response_mask = Exercise(
    reference=finetune.response_mask,
    cases=_mask_cases,
    edits="""
    learns the prompt: `(column >= prompt_lengths[:, None]) & ` goes. Your mask keeps the prompt
        too. The prompt is given, nobody asks the model to write it: learning it spends the update
        on the questions. Begin at `prompt_lengths`.

    learns the padding: ` & (column < lengths[:, None])` goes. Your mask keeps the padding behind
        the response. The model would learn to write padding for ever. End before `lengths`.

    keeps the prompt: ` & (column < lengths[:, None])` goes, `>=` becomes `<`. You kept the prompt
        and left out the response: turn the comparison around.

    keeps everything else: `return (column` becomes `return ~((column`, `< lengths[:, None])`
        becomes `< lengths[:, None]))`. Your mask is True at prompt and padding. It is named for
        what it keeps, the *response*: leave out the `~`.

    forgets the end: `< lengths[:, None]` becomes `< lengths[:, None] - 1`. The last token of each
        response is missing. It is the end-of-sequence token: without it the model never learns to
        stop.

    starts late: `>=` becomes `>`. The first token of each response is missing. Columns count from
        0, so it stands in column `prompt_lengths`: compare with `>=`.

    starts early: `prompt_lengths[:, None]` becomes `prompt_lengths[:, None] - 1`. Your mask keeps
        the last token of each prompt too. Columns count from 0, so the first token of the response
        stands in column `prompt_lengths`.

    shifts by one: `lengths.device)` becomes `lengths.device) + 1`. Your mask is one column early.
        The mask marks the tokens to be *learned*; that the position before them predicts them is
        the loss's business.

    one column late: `>=` becomes `>`, `< lengths` becomes `<= lengths`. Your mask is one column
        late. Columns count from 0, so the first token of the response stands in column
        `prompt_lengths` and its last in column `lengths - 1`: compare with `>=` and with `<`.

    runs into the padding: `< lengths` becomes `<= lengths`. Your mask keeps one token too many, the
        first of the padding. Columns count from 0, so the last token stands in column
        `lengths - 1`: compare with `<`.

    adds the lengths: `< lengths[:, None]` becomes `< (prompt_lengths + lengths)[:, None]`. You
        added the length of the prompt to `lengths`, which counts it already: prompt and response
        together.

    numbers: `return (column` becomes `return ((column`, `< lengths[:, None])` becomes
        `< lengths[:, None])).float()`. The pattern is right, but it holds numbers. A mask is `bool`
        here: return the comparison itself.
    """,
    hints=(
        "Number the columns: `column = torch.arange(T)`. For one row the answer is a comparison "
        "of `column` with two numbers.",
        "For all rows at once, stand the lengths upright: `prompt_lengths[:, None]` has the shape "
        "(B, 1), and a comparison with (T,) gives (B, T).",
        "`(column >= prompt_lengths[:, None]) & (column < lengths[:, None])`",
    ),
)


# --- LoRA --------------------------------------------------------------------------------------

# W (2, 3), A (1, 3), B (2, 1) with B A = [[1, 2, 0], [2, 4, 0]].
W, A, B = floats([[1, 0, 2], [0, 1, -1]]), floats([[1, 2, 0]]), floats([[1], [2]])


def _half(numbers) -> Tensor:
    return floats(numbers).to(torch.bfloat16)


def _forward_cases(rng: np.random.Generator) -> list[Case]:
    one = torch.ones(1, 3)
    # B A x is 1/2 in each row. In bfloat16 the first would lose it if A or B A were rounded, the
    # second if A x were, the third if B were; and there is no 256.5.
    a = [[1 + 1 / 256, -1], [1, 1 / 256], [0, 1], [1, 0], [1, 0]]
    b = [[128, 0, 0, 0, 0], [0, 128, -128, 0, 0], [0, 0, 0, 128.5, -128], [0, 0, 0, 0.5, 0]]
    fine = (_half([[1, 1]]), _half([[0, 1], [0, 1], [0, 1], [256, 0]]), a, b, 1.0)
    # As many tokens as channels: columns and rows could be confused without an error.
    square = ([[1, 0], [3, 1]], [[1, 2], [0, 1]], [[1, 1]], [[1], [0]], 1.0)
    x, weight = rng.normal(size=(2, 4, 5)), rng.normal(size=(3, 5))
    a, b, scale = rng.normal(size=(2, 5)), rng.normal(size=(3, 2)), float(rng.uniform(1.5, 4))
    # Ground truth: the one matrix that the adapted layer stands for, in double precision.
    expected = x @ (weight + scale * (b @ a)).T
    drawn = (x, weight, a, b, scale)
    return [
        case("two tokens of two channels, each a row", square, [[2, 0], [9, 1]]),
        # W x = (3, 0) and B A x = (3, 6).
        case("scale 1", (one, W, A, B, 1.0), [[6, 6]]),
        case("alpha / r = 16 / 8", (one, W, A, B, 2.0), [[9, 12]]),
        case("before training B is zero", (one, W, A, 0 * B, 2.0), [[3, 0]]),
        case("x and W in bfloat16, A and B in float32", fine, _half([[1.5, 1.5, 1.5, 256]])),
        case("two random texts of four words", drawn, expected, atol=1e-4),
    ]


lora_forward = Exercise(
    reference=lora.lora_forward,
    differentiated="x a b",
    cases=_forward_cases,
    edits="""
    forgets the scale: `b, scale)` becomes `b, 1.0)`. `scale` changes nothing in your version. The
        correction is `scale * b @ a @ x`: with alpha / r in front, another rank does not need
        another learning rate.

    scales everything: `F.linear(x, weight)` becomes `scale * F.linear(x, weight)`. You scaled the
        frozen part too, so the model is no longer itself even before training. `scale` belongs to
        the correction alone.

    divides by the scale: `b, scale)` becomes `b, 1 / scale)`. You divided by `scale`. It is
        alpha / r already: multiply.

    divides by the rank again: `b, scale)` becomes `b, scale / len(a))`. You divided by the rank
        once more. `scale` is alpha / r already: use it as it is.

    takes columns: `F.linear(x, weight) + correction(x, a, b, scale)` becomes
        `weight @ x + scale * (b @ (a @ x))`. That is the formula, where the input is a column. Here
        every token is a *row* of `x`, so W x becomes `x @ weight.T`, or `F.linear(x, weight)`; `a`
        and `b` likewise.

    forgets the frozen part: `F.linear(x, weight) + ` goes. You returned the correction alone. LoRA
        *adds* it to what the frozen layer says: `F.linear(x, weight)`.

    forgets the correction: ` + correction(x, a, b, scale)` goes. That is the frozen layer alone:
        `a` and `b` change nothing, so nothing would learn.

    subtracts: ` + ` becomes ` - `. You subtracted the correction. Add it.

    rounds the adapters: `x, a, b` becomes `x, a.to(x.dtype), b.to(x.dtype)`. You turned `a` and `b`
        into bfloat16, which keeps three digits: most of what they learn is rounded away. Turn `x`
        into float32 for the correction instead: `x.to(a.dtype)`.

    merges in half precision: `F.linear(x, weight) + correction(x, a, b, scale)` becomes
        `F.linear(x, weight + (scale * b @ a).to(weight.dtype))`. You added the correction to
        `weight` in bfloat16, which keeps three digits, and made `b @ a`, as large as the weight.
        Send `x` in float32 through `a`, then through `b`.

    rounds on the way: `correction(x, a, b, scale)` becomes `scale *
        F.linear(F.linear(x.to(a.dtype), a).to(x.dtype), b.to(x.dtype))`. You rounded to bfloat16
        between `a` and `b`. Stay in float32 until the whole correction is there, then
        `.to(x.dtype)`.

    stays in float32: `correction(x, a, b, scale)` becomes `correction(x.to(a.dtype), a, b, scale)`.
        With `x` in bfloat16 you return float32, and the next layer, in bfloat16, refuses it. Give
        the correction the dtype of `x` before you add it: `.to(x.dtype)`.
    """,
    hints=(
        "Two paths from the same `x`, added at the end. The frozen one is `F.linear(x, weight)`, "
        "which is x times the transpose of W.",
        "The other goes through the bottleneck: `F.linear(F.linear(x, a), b)`, times `scale`. "
        "First `a`: the product `b @ a` would be as large as the weight.",
        "`x` may be bfloat16 while `a` and `b` are float32: start the second path with "
        "`x.to(a.dtype)` and end it with `.to(x.dtype)`.",
    ),
)


def _merge_cases(rng: np.random.Generator) -> list[Case]:
    # B A = [[1/2, 1/2]]: bfloat16 would round the 1 + 1/256 to 1, and has no 256.5.
    fine = (_half([[256, 1]]), [[1 + 1 / 256] * 2, [1, 1]], [[128, -128]], 1.0)
    weight, a, b = rng.normal(size=(3, 5)), rng.normal(size=(2, 5)), rng.normal(size=(3, 2))
    scale = float(rng.uniform(1.5, 4))
    # Ground truth: entry by entry, a sum over the two ranks.
    expected = np.empty_like(weight)
    for i, j in np.ndindex(weight.shape):
        expected[i, j] = weight[i, j] + scale * (b[i, 0] * a[0, j] + b[i, 1] * a[1, j])
    return [
        case("scale 1", (W, A, B, 1.0), [[2, 2, 2], [2, 5, -1]]),
        case("scale 3", (W, A, B, 3.0), [[4, 6, 2], [6, 13, -1]]),
        case("before training B is zero", (W, A, 0 * B, 3.0), W),
        case("W in bfloat16, A and B in float32", fine, _half([[256, 1.5]])),
        case("random matrices of rank 2", (weight, a, b, scale), expected, atol=1e-5),
    ]


merge_weight = Exercise(
    reference=lora.merge_weight,
    cases=_merge_cases,
    edits="""
    forgets the scale: `scale * ` goes. `scale` changes nothing in your version, so the merged model
        differs from the adapted one: add `scale * (b @ a)`.

    forgets the frozen weight: `weight.to(a.dtype) + ` goes. You returned the correction alone. Add
        it to `weight`.

    scales everything: `weight.to(a.dtype)` becomes `scale * weight.to(a.dtype)`. You scaled the
        frozen weight too. `scale` belongs to `b @ a` alone.

    subtracts: ` + ` becomes ` - `. You subtracted the correction: that takes an adapter out again.
        Merging adds it.

    divides by the rank again: `scale * (b @ a)` becomes `scale / len(a) * (b @ a)`. You divided by
        the rank once more. `scale` is alpha / r already: use it as it is.

    divides by the scale: `scale * (b @ a)` becomes `(b @ a) / scale`. You divided by `scale`. It is
        alpha / r already: multiply.

    rounds too early: `weight.to(a.dtype)` becomes `weight`, `b @ a` becomes
        `b.to(weight.dtype) @ a.to(weight.dtype)`. You turned `a` and `b` into bfloat16 before
        multiplying, which keeps three digits of each. Add in the adapters' precision and round
        once, at the end: `(weight.to(a.dtype) + ...).to(weight.dtype)`.

    stays in float32: `.to(weight.dtype)` goes. With `weight` in bfloat16 you return float32: twice
        the memory, and the layer refuses its bfloat16 input. End with `.to(weight.dtype)`.

    writes into the frozen weight: `(weight.to(a.dtype) + scale * (b @ a)).to(weight.dtype)` becomes
        `weight.add_(scale * (b @ a))`. The values are right, but `weight += ...` overwrites the
        frozen weight: there is no way back, since subtracting does not undo rounding. Return a new
        tensor.
    """,
    hints=(
        "Which one matrix M gives `M @ x = weight @ x + scale * b @ a @ x` for every x?",
        "`weight + scale * (b @ a)`: (out, r) times (r, in) is (out, in).",
        "`weight` may be bfloat16: add in the dtype of `a` and round once, "
        "`(weight.to(a.dtype) + scale * (b @ a)).to(weight.dtype)`.",
    ),
)


# --- The loop of fine-tuning ------------------------------------------------------------------

train_lora = build.train_lora


# --- From the vectors of words to the vector of a sentence -------------------------------------


def _mean_cases(rng: np.random.Generator) -> list[Case]:
    one = [[[0, 2], [4, 6], [50, 70]]]
    two = (one * 2, bits("...", ".x."))
    # As many sentences as channels: a count without its axis would divide the channels.
    pair = ([*one, [[1, 3], [5, 7], [9, 11]]], bits("xx.", "xxx"))
    lengths, hidden = rng.permutation([2, 3, 5]), rng.normal(size=(3, 6, 4))
    # Ground truth: cut the padding off, then take a plain mean.
    expected = [row[:n].mean(axis=0) for row, n in zip(hidden, lengths, strict=True)]
    mask = bits(*("x" * n + "." * (6 - n) for n in lengths))
    return [
        case("two words and one padding", (one, bits("xx.")), [[2, 4]]),
        case("no padding", (one, bits("xxx")), [[18, 26]]),
        case("padding on the left", (one, bits(".xx")), [[27, 38]]),
        case("two sentences of two channels", pair, [[2, 4], [5, 7]]),
        case("three random sentences", (hidden, mask), expected, atol=1e-5),
        case("a row without any word beside one with a word", two, [[0, 0], [4, 6]]),
    ]


masked_mean = Exercise(
    reference=encoder.mean_pool,
    cases=_mean_cases,
    edits="""
    averages the padding too: `(hidden * kept).sum(dim=1) / kept.sum(dim=1).clamp(min=1)` becomes
        `hidden.mean(dim=1)`. You averaged all positions, padding included. The same sentence would
        then get another vector in a batch with a longer one. Multiply by the mask first.

    divides by T: `kept.sum(dim=1).clamp(min=1)` becomes `mask.shape[1]`. You left the padding out
        of the sum but not out of the count: divide by the number of positions that the *mask*
        keeps, `mask.sum(1)`.

    does not divide: ` / kept.sum(dim=1).clamp(min=1)` goes. That is the sum: long sentences would
        get long vectors. Divide by the number of positions that the mask keeps.

    NaN for an empty row: `.clamp(min=1)` goes. A row in which the mask keeps nothing gives
        0 / 0 = NaN, which spreads to whatever it touches. Divide by at least 1: `.clamp(min=1)`.

    mask upside down: `mask.unsqueeze` becomes `(~mask).unsqueeze`. You averaged the padding. The
        mask is True at the positions to *keep*.

    averages the whole batch: `(hidden * kept).sum(dim=1)` becomes
        `(hidden * kept).sum(dim=(0, 1)).expand(len(hidden), -1)`, `kept.sum(dim=1)` becomes
        `kept.sum()`. You divided the sum over *all* sentences by the number of all their words:
        every row gets the same vector. Sum and count along T alone: `dim=1`.

    loses an axis: `kept.sum(dim=1)` becomes `mask.sum(dim=1)`. Your count has the shape (B,), and
        (B, C) divided by (B,) divides channel by channel, or fails. Keep the axis, so that the
        count has the shape (B, 1): `mask.sum(dim=1, keepdim=True)`.

    counts the whole batch: `kept.sum(dim=1)` becomes `kept.sum()`. You divided by the number of
        words in the whole batch. Count them row by row: `mask.sum(dim=1, keepdim=True)`.

    takes the first position: `(hidden * kept).sum(dim=1) / kept.sum(dim=1).clamp(min=1)` becomes
        `hidden[:, 0]`. You took the first position. Some encoders are trained to sum up the
        sentence there; this one is trained for the mean over its words.

    takes the largest: `(hidden * kept).sum(dim=1) / kept.sum(dim=1).clamp(min=1)` becomes
        `hidden.masked_fill(~mask[..., None], -torch.inf).amax(dim=1)`. You took the largest number
        of each channel (max pooling). This encoder is trained for the mean over its words.

    takes the last position: `(hidden * kept).sum(dim=1) / kept.sum(dim=1).clamp(min=1)` becomes
        `hidden[:, -1]`. You took the last position, which in a shorter sentence is padding. The
        vector of the sentence is the mean over its words.

    averages the channels: `(hidden * kept).sum(dim=1) / kept.sum(dim=1).clamp(min=1)` becomes
        `hidden.mean(dim=-1) * mask`. You averaged the channels of each position, (B, T). Average
        the positions: `dim=1`, which gives (B, C).
    """,
    hints=(
        "A sum over the kept positions, divided by how many they are.",
        "`mask[..., None]` has the shape (B, T, 1): `(hidden * mask[..., None]).sum(dim=1)` adds "
        "up what is kept.",
        "Divide by `mask.sum(dim=1, keepdim=True).clamp(min=1)`: a row of nothing but padding has "
        "0 positions.",
    ),
)

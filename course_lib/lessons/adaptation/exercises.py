"""Exercises of lesson 06: a few-shot prompt, the mask of fine-tuning, LoRA, and mean pooling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.classroom.check import Case, Exercise, Mistake
from course_lib.lm import encoder, finetune, lora, prompting


def _float(numbers) -> Tensor:
    return torch.as_tensor(np.asarray(numbers), dtype=torch.float32)


def _bits(rows: list[str]) -> Tensor:
    """A mask as a picture: "x" where it keeps."""
    return torch.tensor([[sign == "x" for sign in row] for row in rows])


# --- A prompt with examples --------------------------------------------------------------------


def _prompt_cases(rng: np.random.Generator) -> list[Case]:
    opposite = "Write the opposite."
    hand = [
        Case(
            "one example",
            (opposite, [("hot", "cold")], "big"),
            "Write the opposite.\n\nInput: hot\nOutput: cold\n\nInput: big\nOutput:",
        ),
        Case(
            "no example (zero-shot)",
            (opposite, [], "big"),
            "Write the opposite.\n\nInput: big\nOutput:",
        ),
        Case(
            "no instruction: the examples alone say what to do",
            ("", [("hot", "cold"), ("up", "down")], "big"),
            "Input: hot\nOutput: cold\n\nInput: up\nOutput: down\n\nInput: big\nOutput:",
        ),
    ]
    words = [f"word{i}" for i in rng.choice(100, size=7, replace=False)]
    shots = [(words[0], words[1]), (words[2], words[3]), (words[4], words[5])]
    expected = (
        "Continue.\n"
        f"\nInput: {words[0]}\nOutput: {words[1]}\n"
        f"\nInput: {words[2]}\nOutput: {words[3]}\n"
        f"\nInput: {words[4]}\nOutput: {words[5]}\n"
        f"\nInput: {words[6]}\nOutput:"
    )
    return [*hand, Case("three random examples", ("Continue.", shots, words[6]), expected)]


def _assemble(
    instruction: str,
    shots: Sequence[tuple[str, str]],
    question: str,
    *,
    apart: str = "\n\n",
    shot: str = "Input: {0}\nOutput: {1}",
    last: str = "Input: {0}\nOutput:",
) -> str:
    """A prompt whose parts can be set wrongly."""
    parts = [instruction] if instruction else []
    parts += [shot.format(*pair) for pair in shots]
    return apart.join([*parts, *([last.format(question)] if last else [])])


few_shot_prompt = Exercise(
    reference=prompting.few_shot_prompt,
    cases=_prompt_cases,
    mistakes=(
        Mistake(
            "ends with a blank",
            lambda instruction, shots, question: _assemble(instruction, shots, question) + " ",
            "Your prompt ends with a blank. The tokenizer keeps the blank *before* a word in that "
            "word's token, so the model now looks for a rare token without one. End with "
            '"Output:".',
        ),
        Mistake(
            "ends with a new line",
            lambda instruction, shots, question: _assemble(instruction, shots, question) + "\n",
            "Your prompt ends with a new line. In the examples the answer follows on the same "
            'line: end with "Output:".',
        ),
        Mistake(
            "does not ask",
            lambda instruction, shots, question: _assemble(
                instruction, shots, question, last="Input: {0}"
            ),
            'Your prompt stops at the question. The model would go on with "Output:", or with more '
            'of the question. Write "Output:" yourself, so that the answer comes next.',
        ),
        Mistake(
            "forgets the question",
            lambda instruction, shots, question: _assemble(instruction, shots, question, last=""),
            "The question is missing: after the examples comes one more input, with an output left "
            "open.",
        ),
        Mistake(
            "forgets the instruction",
            lambda instruction, shots, question: _assemble("", shots, question),
            "The instruction is missing. It comes first, and an empty line after it.",
        ),
        Mistake(
            "forgets the answers",
            lambda instruction, shots, question: _assemble(
                instruction, shots, question, shot="Input: {0}\nOutput:"
            ),
            "Your examples have no answers. The answers are what the model learns from here: "
            '"Output: " and the second part of each shot.',
        ),
        Mistake(
            "question and answer exchanged",
            lambda instruction, shots, question: _assemble(
                instruction, shots, question, shot="Input: {1}\nOutput: {0}"
            ),
            "Question and answer are exchanged in your examples: a shot is (question, answer), and "
            "the question is the input.",
        ),
        Mistake(
            "examples backwards",
            lambda instruction, shots, question: _assemble(
                instruction, list(reversed(shots)), question
            ),
            "Your examples come in reverse. Keep their order: the model weighs the last ones more, "
            "so order is part of the experiment.",
        ),
        Mistake(
            "no empty line",
            lambda instruction, shots, question: _assemble(
                instruction, shots, question, apart="\n"
            ),
            "There is no empty line between the parts. It tells the model where one example ends: "
            'join the parts with "\\n\\n".',
        ),
        Mistake(
            "an empty instruction leaves a gap",
            lambda instruction, shots, question: (
                ("" if instruction else "\n\n") + _assemble(instruction, shots, question)
            ),
            "Without an instruction your prompt begins with two new lines. Leave the instruction "
            "out of the list of parts where it is empty.",
        ),
    ),
    hints=(
        'Make a list of parts, and join them with an empty line: `"\\n\\n".join(parts)`.',
        'A shot is the part f"Input: {asked}\\nOutput: {answer}". The question is the same with '
        'nothing after "Output:", not even a blank.',
        "Begin the list with the instruction only if there is one: "
        "`parts = [instruction] if instruction else []`.",
    ),
)


# --- Which tokens to learn ---------------------------------------------------------------------


def _mask_cases(rng: np.random.Generator) -> list[Case]:
    def lengths(*numbers: int) -> Tensor:
        return torch.tensor(numbers)

    hand = [
        Case(
            "three tokens of prompt, two of response, no padding",
            (lengths(3), lengths(5), 5),
            _bits(["...xx"]),
        ),
        Case(
            "a short text beside a long one: padding is not learned",
            (lengths(3, 1), lengths(6, 3), 6),
            _bits(["...xxx", ".xx..."]),
        ),
        Case(
            "a response of one token: the end of the text itself",
            (lengths(2, 3), lengths(3, 4), 5),
            _bits(["..x..", "...x."]),
        ),
    ]
    rows = rng.integers(1, 5, size=(4, 2))
    rows[0] = rows.max() + 1  # one row is longer than all others, as long as T
    width = int(rows.sum(axis=1).max())
    # Ground truth: each row spelled out, prompt, response, padding.
    picture = ["." * p + "x" * r + "." * (width - p - r) for p, r in rows]
    drawn = (lengths(*rows[:, 0].tolist()), lengths(*rows.sum(axis=1).tolist()), width)
    return [*hand, Case("four random rows", drawn, _bits(picture))]


def _columns(prompt_lengths: Tensor, lengths: Tensor, T: int) -> tuple[Tensor, Tensor, Tensor]:
    """Column numbers (T,), and both lengths as columns (B, 1)."""
    return torch.arange(T), prompt_lengths[:, None], lengths[:, None]


def _between(first: int, last: int):
    """The mask with its first and its last token moved by so many columns."""

    def mask(prompt_lengths: Tensor, lengths: Tensor, T: int) -> Tensor:
        column, start, end = _columns(prompt_lengths, lengths, T)
        return (column >= start + first) & (column < end + last)

    return mask


def _before_padding(prompt_lengths: Tensor, lengths: Tensor, T: int) -> Tensor:
    column, _, end = _columns(prompt_lengths, lengths, T)
    return column < end


def _after_prompt(prompt_lengths: Tensor, lengths: Tensor, T: int) -> Tensor:
    column, start, _ = _columns(prompt_lengths, lengths, T)
    return column >= start


def _adds_lengths(prompt_lengths: Tensor, lengths: Tensor, T: int) -> Tensor:
    return _between(0, 0)(prompt_lengths, prompt_lengths + lengths, T)


response_mask = Exercise(
    reference=finetune.response_mask,
    cases=_mask_cases,
    mistakes=(
        Mistake(
            "learns the prompt",
            _before_padding,
            "Your mask keeps the prompt too. The prompt is given, nobody asks the model to write "
            "it: learning it spends the update on the questions. Begin at `prompt_lengths`.",
        ),
        Mistake(
            "learns the padding",
            _after_prompt,
            "Your mask keeps the padding behind the response. The model would learn to write "
            "padding for ever. End before `lengths`.",
        ),
        Mistake(
            "keeps the prompt",
            lambda prompt_lengths, lengths, T: ~_after_prompt(prompt_lengths, lengths, T),
            "You kept the prompt and left out the response: turn the comparison around.",
        ),
        Mistake(
            "keeps everything else",
            lambda prompt_lengths, lengths, T: ~_between(0, 0)(prompt_lengths, lengths, T),
            "Your mask is True at prompt and padding. It is named for what it keeps, the "
            "*response*: leave out the `~`.",
        ),
        Mistake(
            "forgets the end",
            _between(0, -1),
            "The last token of each response is missing. It is the end-of-sequence token: without "
            "it the model never learns to stop.",
        ),
        Mistake(
            "starts late",
            _between(1, 0),
            "The first token of each response is missing. Columns count from 0, so it stands in "
            "column `prompt_lengths`: compare with `>=`.",
        ),
        Mistake(
            "shifts by one",
            _between(-1, -1),
            "Your mask is one column early. The mask marks the tokens to be *learned*; that the "
            "position before them predicts them is the loss's business.",
        ),
        Mistake(
            "runs into the padding",
            _between(0, 1),
            "Your mask keeps one token too many, the first of the padding. Columns count from 0, "
            "so the last token stands in column `lengths - 1`: compare with `<`.",
        ),
        Mistake(
            "adds the lengths",
            _adds_lengths,
            "You added the length of the prompt to `lengths`, which counts it already: prompt and "
            "response together.",
        ),
        Mistake(
            "numbers",
            lambda *args: _between(0, 0)(*args).float(),
            "The pattern is right, but it holds numbers. A mask is `bool` here: return the "
            "comparison itself.",
        ),
    ),
    hints=(
        "Number the columns: `column = torch.arange(T)`. For one row the answer is a comparison "
        "of `column` with two numbers.",
        "For all rows at once, stand the lengths upright: `prompt_lengths[:, None]` has the shape "
        "(B, 1), and a comparison with (T,) gives (B, T).",
        "`(column >= prompt_lengths[:, None]) & (column < lengths[:, None])`",
    ),
)


# --- LoRA --------------------------------------------------------------------------------------


def _hand_matrices() -> tuple[Tensor, Tensor, Tensor]:
    """W (2, 3), A (1, 3), B (2, 1) with B A = [[1, 2, 0], [2, 4, 0]]."""
    return _float([[1, 0, 2], [0, 1, -1]]), _float([[1, 2, 0]]), _float([[1], [2]])


def _forward_cases(rng: np.random.Generator) -> list[Case]:
    weight, a, b = _hand_matrices()
    x = _float([[1, 1, 1]])
    half = torch.bfloat16
    hand = [
        # W x = (3, 0) and B A x = (3, 6).
        Case("scale 1", (x, weight, a, b, 1.0), _float([[6, 6]])),
        Case("alpha / r = 16 / 8", (x, weight, a, b, 2.0), _float([[9, 12]])),
        Case("before training B is zero", (x, weight, a, 0 * b, 2.0), _float([[3, 0]])),
        # A x = 1 + 1/256 - 1 and B A x = 1/2: bfloat16 would round A to 1, and has no 256.5.
        Case(
            "x and W in bfloat16, A and B in float32",
            (
                torch.ones(1, 2, dtype=half),
                _float([[256, 0], [0, 1]]).to(half),
                _float([[1 + 1 / 256, -1]]),
                _float([[128], [128]]),
                1.0,
            ),
            _float([[256, 1.5]]),
        ),
    ]
    x, weight = rng.normal(size=(2, 4, 5)), rng.normal(size=(3, 5))
    a, b, scale = rng.normal(size=(2, 5)), rng.normal(size=(3, 2)), float(rng.uniform(1.5, 4))
    # Ground truth: the one matrix that the adapted layer stands for, in double precision.
    expected = x @ (weight + scale * (b @ a)).T
    args = (*map(_float, (x, weight, a, b)), scale)
    return [*hand, Case("two random texts of four words", args, _float(expected), atol=1e-4)]


def _correction(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return F.linear(F.linear(x.to(a.dtype), a), b)


def _lora(x: Tensor, weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    """The right answer with another scale, to be put wrong below."""
    return F.linear(x, weight) + (scale * _correction(x, a, b)).to(x.dtype)


lora_forward = Exercise(
    reference=lora.lora_forward,
    cases=_forward_cases,
    mistakes=(
        Mistake(
            "forgets the scale",
            lambda x, weight, a, b, scale: _lora(x, weight, a, b, 1.0),
            "`scale` changes nothing in your version. The correction is `scale * b @ a @ x`: with "
            "alpha / r in front, another rank does not need another learning rate.",
        ),
        Mistake(
            "scales everything",
            lambda x, weight, a, b, scale: _lora(x, weight, a, b, 1.0) * scale,
            "You scaled the frozen part too, so the model is no longer itself even before "
            "training. `scale` belongs to the correction alone.",
        ),
        Mistake(
            "divides by the scale",
            lambda x, weight, a, b, scale: _lora(x, weight, a, b, 1 / scale),
            "You divided by `scale`. It is alpha / r already: multiply.",
        ),
        Mistake(
            "divides by the rank again",
            lambda x, weight, a, b, scale: _lora(x, weight, a, b, scale / len(a)),
            "You divided by the rank once more. `scale` is alpha / r already: use it as it is.",
        ),
        Mistake(
            "forgets the frozen part",
            lambda x, weight, a, b, scale: (scale * _correction(x, a, b)).to(x.dtype),
            "You returned the correction alone. LoRA *adds* it to what the frozen layer says: "
            "`F.linear(x, weight)`.",
        ),
        Mistake(
            "forgets the correction",
            lambda x, weight, a, b, scale: F.linear(x, weight),
            "That is the frozen layer alone: `a` and `b` change nothing, so nothing would learn.",
        ),
        Mistake(
            "subtracts",
            lambda x, weight, a, b, scale: _lora(x, weight, a, b, -scale),
            "You subtracted the correction. Add it.",
        ),
        Mistake(
            "rounds the adapters",
            lambda x, weight, a, b, scale: (
                F.linear(x, weight) + _correction(x, a.to(x.dtype), b.to(x.dtype)) * scale
            ),
            "You turned `a` and `b` into bfloat16, which keeps three digits: most of what they "
            "learn is rounded away. Turn `x` into float32 for the correction instead: "
            "`x.to(a.dtype)`.",
        ),
        Mistake(
            "stays in float32",
            lambda x, weight, a, b, scale: F.linear(x, weight) + scale * _correction(x, a, b),
            "With `x` in bfloat16 you return float32, and the next layer, in bfloat16, refuses "
            "it. Give the correction the dtype of `x` before you add it: `.to(x.dtype)`.",
        ),
    ),
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
    weight, a, b = _hand_matrices()
    half = torch.bfloat16
    hand = [
        Case("scale 1", (weight, a, b, 1.0), _float([[2, 2, 2], [2, 5, -1]])),
        Case("scale 3", (weight, a, b, 3.0), _float([[4, 6, 2], [6, 13, -1]])),
        Case("before training B is zero", (weight, a, 0 * b, 3.0), weight),
        # B A = [[1/2, 1/2]]: bfloat16 would round the 1 + 1/256 to 1, and has no 256.5.
        Case(
            "W in bfloat16, A and B in float32",
            (
                _float([[256, 1]]).to(half),
                _float([[1 + 1 / 256, 1 + 1 / 256], [1, 1]]),
                _float([[128, -128]]),
                1.0,
            ),
            _float([[256, 1.5]]),
        ),
    ]
    weight, a, b = rng.normal(size=(3, 5)), rng.normal(size=(2, 5)), rng.normal(size=(3, 2))
    scale = float(rng.uniform(1.5, 4))
    # Ground truth: entry by entry, a sum over the two ranks.
    expected = [
        [
            weight[i, j] + scale * (b[i, 0] * a[0, j] + b[i, 1] * a[1, j])
            for j in range(weight.shape[1])
        ]
        for i in range(len(weight))
    ]
    args = (*map(_float, (weight, a, b)), scale)
    return [*hand, Case("random matrices of rank 2", args, _float(expected), atol=1e-5)]


def _merged(weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    return (weight.to(a.dtype) + scale * (b @ a)).to(weight.dtype)


def _merges_in_place(weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    weight += scale * (b @ a)
    return weight


merge_weight = Exercise(
    reference=lora.merge_weight,
    cases=_merge_cases,
    mistakes=(
        Mistake(
            "forgets the scale",
            lambda weight, a, b, scale: _merged(weight, a, b, 1.0),
            "`scale` changes nothing in your version, so the merged model differs from the adapted "
            "one: add `scale * (b @ a)`.",
        ),
        Mistake(
            "forgets the frozen weight",
            lambda weight, a, b, scale: (scale * (b @ a)).to(weight.dtype),
            "You returned the correction alone. Add it to `weight`.",
        ),
        Mistake(
            "scales everything",
            lambda weight, a, b, scale: _merged(weight, a, b, 1.0) * scale,
            "You scaled the frozen weight too. `scale` belongs to `b @ a` alone.",
        ),
        Mistake(
            "subtracts",
            lambda weight, a, b, scale: _merged(weight, a, b, -scale),
            "You subtracted the correction: that takes an adapter out again. Merging adds it.",
        ),
        Mistake(
            "divides by the scale",
            lambda weight, a, b, scale: _merged(weight, a, b, 1 / scale),
            "You divided by `scale`. It is alpha / r already: multiply.",
        ),
        Mistake(
            "rounds too early",
            lambda weight, a, b, scale: (
                weight + scale * (b.to(weight.dtype) @ a.to(weight.dtype))
            ).to(weight.dtype),
            "You turned `a` and `b` into bfloat16 before multiplying, which keeps three digits of "
            "each. Add in the adapters' precision and round once, at the end: "
            "`(weight.to(a.dtype) + ...).to(weight.dtype)`.",
        ),
        Mistake(
            "stays in float32",
            lambda weight, a, b, scale: weight + scale * (b @ a),
            "With `weight` in bfloat16 you return float32: twice the memory, and the layer refuses "
            "its bfloat16 input. End with `.to(weight.dtype)`.",
        ),
        Mistake(
            "writes into the frozen weight",
            _merges_in_place,
            "The values are right, but `weight += ...` overwrites the frozen weight: there is no "
            "way back, since subtracting does not undo rounding. Return a new tensor.",
        ),
    ),
    hints=(
        "Which one matrix M gives `M @ x = weight @ x + scale * b @ a @ x` for every x?",
        "`weight + scale * (b @ a)`: (out, r) times (r, in) is (out, in).",
        "`weight` may be bfloat16: add in the dtype of `a` and round once, "
        "`(weight.to(a.dtype) + scale * (b @ a)).to(weight.dtype)`.",
    ),
)


# --- From the vectors of words to the vector of a sentence -------------------------------------


def _mean_cases(rng: np.random.Generator) -> list[Case]:
    hidden = _float([[[1, 2], [3, 6], [50, 70]]])
    hand = [
        Case("two words and one padding", (hidden, _bits(["xx."])), _float([[2, 4]])),
        Case("no padding", (hidden, _bits(["xxx"])), _float([[18, 26]])),
        Case("padding on the left", (hidden, _bits([".xx"])), _float([[26.5, 38]])),
        Case(
            "a row without any word beside one with a word",
            (torch.cat([hidden, hidden]), _bits(["...", ".x."])),
            _float([[0, 0], [3, 6]]),
        ),
    ]
    lengths = rng.permutation([2, 3, 5])
    hidden = rng.normal(size=(3, 6, 4))
    # Ground truth: cut the padding off, then take a plain mean.
    expected = [row[:n].mean(axis=0) for row, n in zip(hidden, lengths, strict=True)]
    mask = _bits(["x" * n + "." * (6 - n) for n in lengths])
    args = (_float(hidden), mask)
    return [*hand, Case("three random sentences", args, _float(expected), atol=1e-5)]


def _total(hidden: Tensor, mask: Tensor) -> Tensor:
    return (hidden * mask[..., None]).sum(dim=1)


def _at_least_one(mask: Tensor) -> Tensor:
    return mask.sum(dim=1, keepdim=True).clamp(min=1)


masked_mean = Exercise(
    reference=encoder.masked_mean,
    cases=_mean_cases,
    mistakes=(
        Mistake(
            "averages the padding too",
            lambda hidden, mask: hidden.mean(dim=1),
            "You averaged all positions, padding included. The same sentence would then get "
            "another vector in a batch with a longer one. Multiply by the mask first.",
        ),
        Mistake(
            "divides by T",
            lambda hidden, mask: _total(hidden, mask) / mask.shape[1],
            "You left the padding out of the sum but not out of the count: divide by the number "
            "of positions that the *mask* keeps, `mask.sum(1)`.",
        ),
        Mistake(
            "does not divide",
            lambda hidden, mask: _total(hidden, mask),
            "That is the sum: long sentences would get long vectors. Divide by the number of "
            "positions that the mask keeps.",
        ),
        Mistake(
            "NaN for an empty row",
            lambda hidden, mask: _total(hidden, mask) / mask.sum(dim=1, keepdim=True),
            "A row in which the mask keeps nothing gives 0 / 0 = NaN, which spreads to whatever "
            "it touches. Divide by at least 1: `.clamp(min=1)`.",
        ),
        Mistake(
            "mask upside down",
            lambda hidden, mask: _total(hidden, ~mask) / _at_least_one(~mask),
            "You averaged the padding. The mask is True at the positions to *keep*.",
        ),
        Mistake(
            "averages the whole batch",
            lambda hidden, mask: (_total(hidden, mask).sum(dim=0) / mask.sum().clamp(min=1)).expand(
                len(hidden), -1
            ),
            "You divided the sum over *all* sentences by the number of all their words: every row "
            "gets the same vector. Sum and count along T alone: `dim=1`.",
        ),
        Mistake(
            "counts the whole batch",
            lambda hidden, mask: _total(hidden, mask) / mask.sum().clamp(min=1),
            "You divided by the number of words in the whole batch. Count them row by row: "
            "`mask.sum(dim=1, keepdim=True)`.",
        ),
        Mistake(
            "takes the first position",
            lambda hidden, mask: hidden[:, 0],
            "You took the first position. Some encoders are trained to sum up the sentence there; "
            "this one is trained for the mean over its words.",
        ),
        Mistake(
            "averages the channels",
            lambda hidden, mask: hidden.mean(dim=-1) * mask,
            "You averaged the channels of each position, (B, T). Average the positions: `dim=1`, "
            "which gives (B, C).",
        ),
    ),
    hints=(
        "A sum over the kept positions, divided by how many they are.",
        "`mask[..., None]` has the shape (B, T, 1): `(hidden * mask[..., None]).sum(dim=1)` adds "
        "up what is kept.",
        "Divide by `mask.sum(dim=1, keepdim=True).clamp(min=1)`: a row of nothing but padding has "
        "0 positions.",
    ),
)

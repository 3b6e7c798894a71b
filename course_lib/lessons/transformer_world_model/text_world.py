"""A language model as world model: it reads a lake and a move, and writes what happens next.

The game as text is in ``text_lake.py``. Asking a language model for the next state, to plan with
it, follows Hao et al., "Reasoning with Language Model is Planning with World Model", arXiv
2305.14992, who take a model 240 times as large.

Predictions fill a *form*: at each blank only the words that may stand there compete, so that a
model which does not know the form yet is not marked down for it. Left out: slippery ice (the model
would have to give the right chances) and planning with the predictions.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from course_lib.lm import finetune, lora
from course_lib.lm.gpt import GPT, GPTConfig
from course_lib.lm.prompting import branch, read_shared
from course_lib.worlds.text_lake import (
    FORM,
    MOVES,
    SIZE,
    TILES,
    Lake,
    Question,
    Transition,
    Words,
    prompt,
    response,
    truth,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


ADAPTERS = lora.BELU  # 2.9 of SmolLM2's 134.5 million weights learn
TRAIN = finetune.Config(
    total_steps=36, batch_size=8, micro_batch=8, row_length=None, learning_rate=4e-3
)


def from_scratch(config: GPTConfig, seed: int) -> GPT:
    """A model of random weights for the tokens of ``Words``."""
    with torch.random.fork_rng():
        torch.manual_seed(int(np.random.SeedSequence((seed, 9)).generate_state(1)[0]))
        return GPT(config)


@torch.no_grad()
def predict(
    model: GPT,
    tokenizer: "Words | PreTrainedTokenizerFast",
    questions: Sequence[Question],
    shots: Sequence[Transition] = (),
    rules: str = "",
    batch_size: int = 32,
) -> list[Transition]:
    """What the model says about each (lake, state, action): it fills the form word by word.

    ``rules`` and the transitions ``shots`` stand before each question and are read once. A word is
    chosen given those chosen before it, as in greedy decoding, but only among those of its blank.
    """
    shown = "".join(f"{prompt(*t[:3])}{response(t)}\n\n" for t in shots)
    encode = tokenizer.encode
    read = [encode(rules + shown + prompt(*a), add_special_tokens=False) for a in questions]
    blanks = [
        (
            encode(before, add_special_tokens=False),
            [encode(f" {word}", add_special_tokens=False)[0] for word in words],
        )
        for before, words in FORM
    ]
    room = sum(len(before) + 1 for before, _ in blanks)
    memory, rests = read_shared(model, read)
    filled = []
    for start in range(0, len(rests), batch_size):
        tokens = torch.tensor(rests[start : start + batch_size])  # all of one length
        cache = branch(model, memory, len(tokens), tokens.shape[1] + room)
        chosen = []
        for before, words in blanks:
            between = torch.tensor(before, dtype=torch.long).expand(len(tokens), -1)
            read_now = torch.cat([tokens, between], dim=1)
            last = model.hidden(read_now, cache=cache)[:, -1].contiguous()
            chosen.append((last @ model.head.weight[words].T).argmax(dim=1))
            tokens = torch.tensor(words)[chosen[-1]][:, None]
        filled += torch.stack(chosen, dim=1).tolist()
    return [
        Transition(*a, row * SIZE + column, TILES[tile], reward, bool(end))
        for a, (row, column, tile, reward, end) in zip(questions, filled, strict=True)
    ]


def unmoved(questions: Sequence[Question]) -> list[Transition]:
    """The baseline that says: nothing happens."""
    return [Transition(*a, a[1], "ice", 0, False) for a in questions]


def blind(questions: Sequence[Question]) -> list[Transition]:
    """The baseline that knows the moves and does not read the map: it never sees a hole."""
    truths = [truth(*a) for a in questions]
    return [t if t.tile == "goal" else t._replace(tile="ice", end=False) for t in truths]


def table(train: Sequence[Transition], questions: Sequence[Question]) -> list[Transition]:
    """Lesson 1's model: what (state, action) did most often in training; unmoved where never."""
    counts: dict[tuple[int, int], Counter] = {}
    for t in train:
        counts.setdefault((t.state, t.action), Counter())[t[3:]] += 1
    guesses = []
    for a, default in zip(questions, unmoved(questions), strict=True):
        known = counts.get(a[1:])
        guesses.append(Transition(*a, *known.most_common(1)[0][0]) if known else default)
    return guesses


def score(predicted: Sequence[Transition], truths: Sequence[Transition]) -> dict[str, float]:
    """Shares that are exactly right: next state, tile, reward and end, and all of them."""
    pairs = list(zip(predicted, truths, strict=True))
    return {
        "state": float(np.mean([p.next_state == t.next_state for p, t in pairs])),
        "tile": float(np.mean([p.tile == t.tile for p, t in pairs])),
        "outcome": float(np.mean([(p.reward, p.end) == (t.reward, t.end) for p, t in pairs])),
        "whole": float(np.mean([p == t for p, t in pairs])),
    }


# --- Several moves in a row ----------------------------------------------------------------------


def walks(lakes: Sequence[Lake], number: int, moves: int, seed: int = 0) -> list[list[Transition]]:
    """Random walks of so many moves from the start, on ice all the way."""
    rng = np.random.default_rng(np.random.SeedSequence((seed, 8)))
    found = []
    for _ in range(number):
        lake, state, walk = lakes[rng.integers(len(lakes))], 0, []
        while len(walk) < moves:
            step = truth(lake, state, int(rng.integers(len(MOVES))))
            if not step.end:
                walk.append(step)
                state = step.next_state
        found.append(walk)
    return found


def open_loop(
    model: GPT, tokenizer: "Words | PreTrainedTokenizerFast", walked: Sequence[Sequence[Transition]]
) -> list[float]:
    """Share of walks whose states the model has all right up to each move, living on its own words.

    What it predicts is the state of its next question. A predicted end counts as wrong.
    """
    states, right, shares = [0] * len(walked), [True] * len(walked), []
    for step in zip(*walked, strict=True):
        questions = [(t.lake, state, t.action) for t, state in zip(step, states, strict=True)]
        predicted = predict(model, tokenizer, questions)
        states = [p.next_state for p in predicted]
        right = [
            ok and p.next_state == t.next_state and not p.end
            for ok, p, t in zip(right, predicted, step, strict=True)
        ]
        shares.append(float(np.mean(right)))
    return shares

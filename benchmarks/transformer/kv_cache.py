"""Writing with and without the KV cache: multiply-adds counted, processor seconds measured.

Without a cache every new token costs a pass over the whole text so far; with it the new token alone
passes through the blocks, and looks at the keys and values that were kept. The model is the
lesson's, 4 blocks of width 96, with random weights and a longer window: what it writes does not
matter, only that both ways write the same (greedy decoding, compared at every length). The two
take turns, three rounds in an order that is drawn each time, in one process on one thread; the
ratio is taken within a round. Processor seconds, so that a neighbour on the machine counts less.
"""

from __future__ import annotations

import random
import time
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import Goal, reported
from course_lib.lm import pretrain
from course_lib.lm.generate import Sampling, generate
from course_lib.lm.gpt import GPT, GPTConfig

SEED = 200
LENGTHS = (16, 32, 64, 128, 256)  # new tokens, after a prompt of one
ROUNDS = 3
SHAPE = replace(pretrain.SHAKESPEARE_MODEL, context=LENGTHS[-1] + 1)


def multiply_adds(shape: GPTConfig, tokens: int, cached: bool) -> int:
    """To write ``tokens`` new ones after a prompt of one; norms and softmax are left out.

    A position costs the weights of the blocks; a query that looks at S positions H D S for the
    scores and as much for the values, in each block; the head reads the last position of a pass.
    """
    per_block = shape.width * (shape.heads + 2 * shape.kv_heads) * shape.head_size
    per_block += shape.heads * shape.head_size * shape.width + 3 * shape.width * shape.hidden
    look = 2 * shape.heads * shape.head_size
    total = 0
    for length in range(1, tokens + 1):
        new = 1 if cached else length
        total += shape.layers * new * (per_block + look * length) + shape.vocab_size * shape.width
    return total


@torch.no_grad()
def write_without(model: GPT, prompt: Tensor, tokens: int) -> Tensor:
    """Greedy continuation of ``prompt`` (1, P) that reads everything again: (1, P + tokens)."""
    text = prompt
    for _ in range(tokens):
        last = model.hidden(text)[:, -1]
        text = torch.cat([text, model.head(last).argmax(-1, keepdim=True)], dim=1)
    return text


def write_with(model: GPT, prompt: Tensor, tokens: int) -> Tensor:
    """The same with the library's `generate`, which keeps keys and values."""
    return generate(model, prompt, sampling=Sampling(tokens, temperature=0)).tokens


def measure(quick: bool) -> dict:
    torch.manual_seed(SEED)
    model, prompt, order = GPT(SHAPE), torch.tensor([[0]]), random.Random(SEED)
    ways = {"with": write_with, "without": write_without}
    lengths, rounds = (LENGTHS[:3], 1) if quick else (LENGTHS, ROUNDS)
    for write in ways.values():
        write(model, prompt, 8)  # warm up
    runs = []
    for i in range(rounds):
        for tokens in lengths:
            row, texts = {"round": i, "tokens": tokens}, {}
            for name in order.sample(sorted(ways), 2):
                start = time.process_time()
                texts[name] = ways[name](model, prompt, tokens)
                row[name] = round(time.process_time() - start, 4)
            runs.append(row | {"same": torch.equal(texts["with"], texts["without"])})
    counts = {
        name: {str(t): multiply_adds(SHAPE, t, name == "with") for t in lengths} for name in ways
    }
    return {"seeds": [SEED], "multiply_adds": counts, "runs": runs}


def judge(result: dict) -> list[Goal]:
    runs, counts = result["runs"], result["multiply_adds"]
    same = sum(run["same"] for run in runs)
    goals = [
        Goal(
            "KV cache: the same text with and without, greedy",
            "every time",
            f"{same} of {len(runs)}",
            same == len(runs),
        )
    ]
    for tokens in sorted({run["tokens"] for run in runs}):
        rows = [run for run in runs if run["tokens"] == tokens]
        ratios = [run["without"] / run["with"] for run in rows]
        seconds = {name: np.median([run[name] for run in rows]) for name in ("without", "with")}
        work = {name: counts[name][str(tokens)] / 1e6 for name in seconds}
        goals.append(
            reported(
                f"KV cache, {tokens} tokens: without over with",
                f"processor time {np.median(ratios):.1f} times (from {min(ratios):.1f} to "
                f"{max(ratios):.1f}; {seconds['without']:.2f} and {seconds['with']:.2f} s), "
                f"multiply-adds {work['without'] / work['with']:.1f} times "
                f"({work['without']:,.0f} and {work['with']:,.0f} million)",
            )
        )
    return goals

"""Writing text with SmolLM2: tokens per second, ours against transformers' `generate`.

The same weights, prompts, dtype and number of new tokens, one thread, in turns in one process.
transformers runs with its default settings, which for this model take the most probable token; so
do we. Reading the prompts is part of the time, and so is laying out the weights anew for every
batch (`generate(..., packed_bytes=math.inf)`). That copy takes 270 MB in bfloat16 and 540 MB in
float32 for a moment; the lessons do without it, and are slower there than here.
"""

from __future__ import annotations

import math
import statistics
import time

import torch

from benchmarks.harness import Goal
from benchmarks.smollm2_peer import as_transformers, padded_prompts, their_greedy
from course_lib.lm import pretrained
from course_lib.lm.generate import Sampling, generate

BATCHES, NEW, REPEATS = (1, 8, 16, 32), 64, 3
GOALS = {1: 1.0, 8: 1.5, 16: 1.5, 32: 1.5}


def measure_dtype(dtype: torch.dtype, batches: tuple[int, ...], repeats: int) -> list[dict]:
    ours, tokenizer = pretrained.smollm2(dtype)
    theirs = as_transformers(ours)
    sampling = Sampling(NEW, temperature=0.0)
    name = str(dtype).removeprefix("torch.")
    inputs = {batch: padded_prompts(tokenizer, batch) for batch in batches}
    rivals = {
        "course_lib": lambda tokens, valid: (
            generate(ours, tokens, valid, sampling, packed_bytes=math.inf).tokens
        ),
        "transformers": lambda tokens, valid: their_greedy(theirs, tokens, valid, NEW),
    }
    for write in rivals.values():  # a first call pays for caches; it is not counted
        write(*inputs[batches[0]])
    runs = []
    for repeat in range(repeats):
        for batch, (tokens, valid) in inputs.items():
            # the first of a pair may find the processor cooler: they take turns in that too
            for who in sorted(rivals, reverse=bool(repeat % 2)):
                start = time.perf_counter()
                written = rivals[who](tokens, valid)
                seconds = time.perf_counter() - start
                assert written.shape == (batch, tokens.shape[1] + NEW)
                runs.append(
                    {
                        "dtype": name,
                        "who": who,
                        "batch": batch,
                        "prompt": tokens.shape[1],
                        "seconds": round(seconds, 3),
                        "tokens_per_second": round(batch * NEW / seconds, 1),
                    }
                )
    return runs


def measure(quick: bool) -> dict:
    dtypes = [pretrained.fast_dtype()] if quick else [torch.float32, torch.bfloat16]
    runs = []
    for dtype in dtypes:
        runs += measure_dtype(dtype, (1, 8) if quick else BATCHES, 2 if quick else REPEATS)
    return {"seeds": [0], "new_tokens": NEW, "runs": runs}


def speeds(result: dict, dtype: str, batch: int, who: str) -> list[float]:
    """Tokens per second of every repeat."""
    wanted = {"dtype": dtype, "batch": batch, "who": who}
    return [r["tokens_per_second"] for r in result["runs"] if wanted.items() <= r.items()]


def judge(result: dict) -> list[Goal]:
    goals = []
    dtypes = list(dict.fromkeys(run["dtype"] for run in result["runs"]))
    for dtype in dtypes:
        for batch, goal in GOALS.items():
            ours, theirs = (
                speeds(result, dtype, batch, who) for who in ("course_lib", "transformers")
            )
            if not ours:
                continue
            ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
            ratio = statistics.median(ratios)
            goals.append(
                Goal(
                    f"SmolLM2, {dtype}, {batch} at once: tokens/s against transformers' generate",
                    f">= {goal:g} times",
                    f"{ratio:.2f} times ({min(ratios):.2f} to {max(ratios):.2f}): "
                    f"{statistics.median(ours):.0f} against {statistics.median(theirs):.0f}",
                    ratio >= goal,
                )
            )
    return goals

"""Writing text with SmolLM2: tokens per second, ours against transformers' `generate`.

The same weights, prompts, dtype and number of new tokens, one thread, in turns in one process.
transformers runs with its default settings, which for this model take the most probable token; so
do we. Reading the prompts is part of the time.

There are eight prompts, so that from 16 rows on each stands in several, as where several replies to
one question are compared. We read a prompt once; a row with 32 different ones says what that is
worth.
"""

from __future__ import annotations

import statistics
import time

import torch

from benchmarks.adaptation.smollm2_peer import (
    as_transformers,
    padded_prompts,
    their_greedy,
)
from benchmarks.harness import Goal, at_least, reported
from course_lib.lm.generate import Sampling, generate
from course_lib.worlds import pretrained

BATCHES, NEW, REPEATS = (1, 8, 16, 32), 64, 4
GOALS = {8: 1.3, 16: 1.3, 32: 1.3}  # times the speed of transformers, by rows; others reported


def measure_dtype(dtype: torch.dtype, batches: tuple[int, ...], repeats: int) -> list[dict]:
    ours, tokenizer = pretrained.smollm2(dtype)
    theirs = as_transformers(ours)
    sampling = Sampling(NEW, temperature=0.0)
    kinds = [(batch, False) for batch in batches] + [(max(batches), True)] * (max(batches) > 8)
    inputs = {kind: padded_prompts(tokenizer, *kind) for kind in kinds}
    rivals = {
        "course_lib": lambda tokens, valid: generate(ours, tokens, valid, sampling).tokens,
        "transformers": lambda tokens, valid: their_greedy(theirs, tokens, valid, NEW),
    }
    for write in rivals.values():  # a first call pays for caches; it is not counted
        write(*inputs[kinds[0]])
    runs = []
    for repeat in range(repeats):
        for (batch, distinct), (tokens, valid) in inputs.items():
            # the first of a pair may find the processor cooler: they take turns in that too
            for who in sorted(rivals, reverse=bool(repeat % 2)):
                start = time.perf_counter()
                written = rivals[who](tokens, valid)
                seconds = time.perf_counter() - start
                assert written.shape == (batch, tokens.shape[1] + NEW)
                runs.append(
                    {
                        "dtype": str(dtype).removeprefix("torch."),
                        "who": who,
                        "batch": batch,
                        "distinct": distinct,
                        "prompt": tokens.shape[1],
                        "seconds": round(seconds, 3),
                        "tokens_per_second": round(batch * NEW / seconds, 1),
                    }
                )
    return runs


def measure(quick: bool) -> dict:
    fast, runs = pretrained.fast_dtype(), []
    # bfloat16 only where the processor is fast at it: elsewhere it takes ten times as long.
    dtypes = [fast] if quick else dict.fromkeys([torch.float32, fast])
    for dtype in dtypes:
        runs += measure_dtype(dtype, (1, 8) if quick else BATCHES, 2 if quick else REPEATS)
    return {"seeds": [0], "new_tokens": NEW, "runs": runs}


def speeds(result: dict, dtype: str, batch: int, distinct: bool, who: str) -> list[float]:
    """Tokens per second of every repeat."""
    wanted = {"dtype": dtype, "batch": batch, "distinct": distinct, "who": who}
    return [r["tokens_per_second"] for r in result["runs"] if wanted.items() <= r.items()]


def judge(result: dict) -> list[Goal]:
    goals = []
    kinds = [*((batch, False) for batch in BATCHES), (max(BATCHES), True)]
    for dtype in dict.fromkeys(run["dtype"] for run in result["runs"]):
        for batch, distinct in kinds:
            ours, theirs = (
                speeds(result, dtype, batch, distinct, who)
                for who in ("course_lib", "transformers")
            )
            if not ours:
                continue
            ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
            ratio = statistics.median(ratios)
            different = ", all different" if distinct else ""
            what = (
                f"SmolLM2, {dtype}, {batch} at once{different}: tokens/s over those of "
                "transformers' generate"
            )
            measured = (
                f"{ratio:.2f} times ({min(ratios):.2f} to {max(ratios):.2f}): "
                f"{statistics.median(ours):.0f} against {statistics.median(theirs):.0f}"
            )
            if batch in GOALS and not distinct:
                goals.append(at_least(what, GOALS[batch], ratio, measured))
            else:
                goals.append(reported(what, measured))
    return goals

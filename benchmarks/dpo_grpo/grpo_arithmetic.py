"""GRPO on SmolLM2 with a verifiable reward, and what the same weights could do without it.

SmolLM2-135M-Instruct is asked for sums of two numbers and rewarded for the right last number and
for stopping by itself. Reported is the share of *held-out* sums whose greedy reply is right and
stops, before and after. Two controls use no reward: the untrained model whose reply is begun with
"a + b equals", and the model fine-tuned on what it says there itself, sums unchecked.

Each seed draws its own split, adapters, prompts and samples, in a process of its own. The recipe
was chosen on the seeds 0 to 4, its number of steps after a look at seed 200, which is left out.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np

from benchmarks.harness import SHARE, Goal, by, mean_over_seeds, one_thread, reported
from course_lib.lm import finetune, lora
from course_lib.rlhf import grpo
from course_lib.worlds import arithmetic
from course_lib.worlds.pretrained import fast_dtype, smollm2

SEEDS = [210, 211, 212, 213, 214]
FORM = finetune.Config(total_steps=12, batch_size=16, micro_batch=4)
KEPT = ("reward", "length", "finished", "tied")


def score(model, tokenizer, problems, prefilled: bool = False) -> dict:
    new = 6 if prefilled else 12
    found = arithmetic.evaluate(model, tokenizer, problems, new, prefilled=prefilled)
    shares = {k: round(getattr(found, k), 4) for k in ("solved", "right", "stopped")}
    return shares | {"replies": found.replies[:6]}


def train_grpo(seed: int) -> dict:
    """One run of GRPO; its seconds and the peak memory of the process so far."""
    model, tokenizer = smollm2()
    problems = arithmetic.split(seed)
    run = {"method": "GRPO", "seed": seed, "before": score(model, tokenizer, problems.test)}
    run["control"] = score(model, tokenizer, problems.test, prefilled=True)
    lora.apply(model, arithmetic.ADAPTERS, seed)
    prompts = [arithmetic.prompt(tokenizer, p) for p in problems.train]
    stops = (tokenizer.eos_token_id,)
    start = time.process_time()
    reward = arithmetic.reward(tokenizer)
    rows = list(grpo.train(model, prompts, reward, stops, arithmetic.GRPO, seed))
    run["cpu_seconds"] = round(time.process_time() - start, 1)
    run["after"] = score(model, tokenizer, problems.test)
    run["after_prefilled"] = score(model, tokenizer, problems.test, prefilled=True)
    run["problems"] = [list(p) for p in problems.test[:6]]
    run["curves"] = {k: [round(row[k], 4) for row in rows] for k in KEPT}
    run["peak_gb"] = peak()
    return run


def peak() -> float:
    """The highest memory of this process so far, in GB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 3)


def form_examples(model, tokenizer, problems) -> list[finetune.Example]:
    """The model's own replies after "a + b equals", sums unchecked, as examples without it."""
    found = arithmetic.evaluate(model, tokenizer, problems, 6, prefilled=True)
    texts = [f"{a} + {b} equals {r}" for (a, b), r in zip(problems, found.replies, strict=True)]
    end = [tokenizer.eos_token_id]
    return [
        finetune.Example(
            arithmetic.prompt(tokenizer, p), tokenizer.encode(text, add_special_tokens=False) + end
        )
        for p, text in zip(problems, texts, strict=True)
    ]


def train_form(seed: int) -> dict:
    """Fine-tuning on the form alone."""
    model, tokenizer = smollm2()
    problems = arithmetic.split(seed)
    examples = form_examples(model, tokenizer, problems.train)
    lora.apply(model, arithmetic.ADAPTERS, seed)
    start = time.process_time()
    for _ in finetune.train(model, examples, FORM, seed):
        pass
    seconds = round(time.process_time() - start, 1)
    after = score(model, tokenizer, problems.test)
    return {"method": "form alone", "seed": seed, "after": after, "cpu_seconds": seconds}


def alone(function: Callable, *args: Any) -> Any:
    """Call it in a process of its own: a clean measurement of memory."""
    with get_context("spawn").Pool(1, one_thread) as pool:
        return pool.apply(function, args)


def measure(quick: bool) -> dict:
    smollm2()  # unpacked once, before anything is measured
    seeds, runs = SEEDS[:1] if quick else SEEDS, []
    for seed in seeds:
        for function in (train_grpo, train_form):
            run = alone(function, seed)
            print(run["method"], seed, run["after"], run["cpu_seconds"], flush=True)
            runs.append(run)
    dtype = str(fast_dtype()).removeprefix("torch.")
    return {"seeds": seeds, "dtype": dtype, "steps": arithmetic.GRPO.total_steps, "runs": runs}


def judge(result: dict) -> list[Goal]:
    runs, form = by(result["runs"], "method").values()
    before, control, after, after_begun = (
        np.array([run[when]["solved"] for run in runs])
        for when in ("before", "control", "after", "after_prefilled")
    )
    share = partial(mean_over_seeds, within=SHARE)
    good = int(((before <= 0.1) & (after >= 0.6)).sum())
    seconds, gigabytes = (max(run[key] for run in runs) for key in ("cpu_seconds", "peak_gb"))
    return [
        Goal(
            "GRPO on SmolLM2, sums: share of held-out sums right and stopped, from at most 0.1 to "
            "at least 0.6",
            f"on {len(runs)} of {len(runs)} seeds",
            f"{good} of {len(runs)}; {share(before)} before, {share(after)} after "
            f"{result['steps']} steps",
            good == len(runs),
        ),
        Goal(
            "GRPO on SmolLM2, sums: training on one core, longest of the seeds; peak memory",
            "at most 120 s, 1.5 GB",
            f"{seconds:.0f} CPU seconds, {gigabytes:.2f} GB",
            seconds <= 120 and gigabytes <= 1.5,
        ),
        Goal(
            'The control: the untrained model, its reply begun with "a + b equals"; the model '
            "fine-tuned on the form alone",
            "reported beside it",
            f"{share(control)}; {share([run['after']['solved'] for run in form])}",
            True,
        ),
        reported(
            "GRPO less the control, per seed; and with the reply begun, after less before",
            f"{mean_over_seeds(after - control)}; {mean_over_seeds(after_begun - control)}",
        ),
    ]

"""GRPO on SmolLM2 with a verifiable reward, and what the same weights could do without it.

SmolLM2-135M-Instruct is asked for sums of two numbers and rewarded for the right last number and
for stopping by itself. Reported is the share of *held-out* sums whose greedy reply is right and
stops, before and after. Two controls use no reward: the untrained model whose reply is begun with
"a + b equals", and the model fine-tuned on what it says there itself, sums unchecked.

Each seed draws its own split, adapters, prompts and samples, in a process of its own. The recipe
was chosen on the seeds 0 to 4, its number of steps after a look at seed 200, which is left out.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

import numpy as np

from benchmarks.harness import ROOT, Goal
from course_lib.evaluation import bootstrap_interval
from course_lib.lm import finetune, lora
from course_lib.lm.packing import packed
from course_lib.rlhf import grpo
from course_lib.worlds import arithmetic
from course_lib.worlds.pretrained import fast_dtype, smollm2

SEEDS = [210, 211, 212, 213, 214]
KEPT = ("reward", "length", "finished", "tied")


def score(model, tokenizer, problems, prefilled: bool = False) -> dict:
    new = 6 if prefilled else 12
    with packed(model):
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
    run["peak_gb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 3)
    return run


def train_form(seed: int) -> dict:
    """Fine-tuning on the form alone."""
    model, tokenizer = smollm2()
    problems = arithmetic.split(seed)
    with packed(model):
        examples = arithmetic.form_examples(model, tokenizer, problems.train)
    lora.apply(model, arithmetic.ADAPTERS, seed)
    start = time.process_time()
    for _ in finetune.train(model, examples, arithmetic.FORM, seed):
        pass
    seconds = round(time.process_time() - start, 1)
    after = score(model, tokenizer, problems.test)
    return {"method": "form alone", "seed": seed, "after": after, "cpu_seconds": seconds}


def alone(function: str, seed: int) -> dict:
    """Run it in a process of its own: a clean measurement of memory."""
    code = "import json; from benchmarks import grpo_arithmetic as b, harness as h; "
    code += "h.one_thread(); "
    code += f"print(json.dumps(b.{function}({seed})))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    run = json.loads(done.stdout.splitlines()[-1])
    print(run["method"], seed, run["after"], run["cpu_seconds"], flush=True)
    return run


def measure(quick: bool) -> dict:
    smollm2()  # unpacked once, before anything is measured
    seeds = SEEDS[:1] if quick else SEEDS
    runs = [alone(name, seed) for seed in seeds for name in ("train_grpo", "train_form")]
    dtype = str(fast_dtype()).removeprefix("torch.")
    return {"seeds": seeds, "dtype": dtype, "steps": arithmetic.GRPO.total_steps, "runs": runs}


def judge(result: dict) -> list[Goal]:
    runs = [run for run in result["runs"] if run["method"] == "GRPO"]
    form = [run["after"]["solved"] for run in result["runs"] if run["method"] == "form alone"]
    shares = {
        k: np.array([run[k]["solved"] for run in runs])
        for k in ("before", "control", "after", "after_prefilled")
    }
    good = int(((shares["before"] <= 0.1) & (shares["after"] >= 0.6)).sum())
    seconds = max(run["cpu_seconds"] for run in runs)
    peak = max(run["peak_gb"] for run in runs)
    return [
        Goal(
            "GRPO on SmolLM2, sums: share of held-out sums right and stopped, from at most 0.1 to "
            "at least 0.6",
            f"on {len(runs)} of {len(runs)} seeds",
            f"{good} of {len(runs)}; {_spread(shares['before'])} before, "
            f"{_spread(shares['after'])} after {result['steps']} steps",
            good == len(runs),
        ),
        Goal(
            "GRPO on SmolLM2, sums: training on one core, longest of the seeds; peak memory",
            "at most 120 s, 1.5 GB",
            f"{seconds:.0f} CPU seconds, {peak:.2f} GB",
            seconds <= 120 and peak <= 1.5,
        ),
        Goal(
            'The control: the untrained model, its reply begun with "a + b equals"; the model '
            "fine-tuned on the form alone",
            "reported beside it",
            f"{_spread(shares['control'])}; {_spread(np.array(form))}",
            True,
        ),
        Goal(
            "GRPO less the control, per seed; and with the reply begun, after less before",
            "reported",
            f"{_spread(shares['after'] - shares['control'])}; "
            f"{_spread(shares['after_prefilled'] - shares['control'])}",
            True,
        ),
    ]


def _spread(values: np.ndarray) -> str:
    low, high = bootstrap_interval(values)
    return f"{values.mean():.2f} [{low:.2f}, {high:.2f}]"

"""A language model as world model of FrozenLake in words: does pretraining help?

SmolLM2-135M-Instruct, asked with the rules and with solved examples in the prompt, then after LoRA
on n transitions. Beside it two models of random weights that learn the same n transitions: one of
the same 30 blocks, in as many updates, 36, and a small one of 0.4 million weights, in 800 updates,
which take half of LoRA's CPU time. (On seed 0, 1,400 updates made it know its examples by heart and
no better on new lakes.) Those from scratch have a number for each of the game's words, in place of
49,152 tokens, which makes their task easier.

All are tested on lakes that no training shows; half of the moves end the game, so that whoever does
not read the map has about half of them right. One part of the test asks about moves whose (state,
action) no training shows on any lake. At each blank of the form only its own words compete.
Verdicts: whether the 95 % t interval of the paired differences over seeds lies on one side of 0.
Recipes were chosen on seed 0; the large model from scratch was not tuned. LoRA's rate was chosen
with 60 updates, for which this measurement has no time: 36 leave the adapters short of what they
can learn. So the comparison with the small model is one of costs, not of limits.
What is finished is kept in ``build``, so that an interrupted measurement goes on.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from benchmarks.harness import SHARE, Clock, Goal, by, mean_over_seeds, reported
from benchmarks.world_models import kept
from course_lib.evaluation import t_interval
from course_lib.lessons.transformer_world_model import text_world
from course_lib.lm import finetune, lora
from course_lib.lm.gpt import GPTConfig
from course_lib.worlds import text_lake
from course_lib.worlds.pretrained import fast_dtype, smollm2
from course_lib.worlds.text_lake import Split, Words

SIZES = (36, 288)  # transitions to learn from; 36 updates of 8 see each of 288 once
TEST = 48  # transitions of each part of the test
SHOTS = 8  # solved examples in the prompt
WALKS, MOVES = 12, 5  # open loop
PROMPT, LORA = "SmolLM2, prompted", "SmolLM2, LoRA"
SAME, SMALL = "from scratch, same size", "from scratch, small"
# Models of random weights: shape, training.
SHAPE = {
    SAME: GPTConfig(len(Words()), 64, layers=30, width=576, heads=9, kv_heads=3, hidden=1536),
    SMALL: GPTConfig(len(Words()), 64, layers=2, width=128, heads=4),
}
TRAINING = {
    LORA: text_world.TRAIN,
    SAME: replace(text_world.TRAIN, learning_rate=1e-3),
    SMALL: replace(
        text_world.TRAIN,
        total_steps=800,
        batch_size=16,
        micro_batch=16,
        learning_rate=2e-3,
        weight_decay=0.1,
    ),
}
ARMS = [*itertools.product((LORA, SMALL), SIZES), (SAME, max(SIZES))]
QUESTIONS = [  # with pretraining, without, n
    (LORA, SAME, 288),  # as many updates
    (LORA, SMALL, 36),
    (LORA, SMALL, 288),
]
KINDS = {"seen_pairs": "new lakes", "new_pairs": "new lakes and new (state, action) pairs"}


def test(split: Split, predict: Callable) -> dict:
    """Both parts of the test."""
    scores = {}
    for kind in KINDS:
        truths = getattr(split, kind)
        scores[kind] = text_world.score(predict([t.question for t in truths]), truths)
    return scores


def untrained(split: Split, seed: int) -> list[dict]:
    """Baselines without a model, and SmolLM2 as it comes."""
    model, tokenizer = smollm2()

    def ask(shots: int) -> Callable:
        shown = split.train[:shots]
        return lambda questions: text_world.predict(
            model, tokenizer, questions, shown, text_lake.RULES
        )

    ways = {
        ("nothing moves", 0): text_world.unmoved,
        ("map not read", 0): text_world.blind,
        **{
            ("table", n): lambda questions, n=n: text_world.table(split.train[:n], questions)
            for n in SIZES
        },
        (PROMPT, 0): ask(0),
        (PROMPT, SHOTS): ask(SHOTS),
    }
    return [
        {"method": method, "n": n, "seed": seed, **test(split, way)}
        for (method, n), way in ways.items()
    ]


def trained(method: str, n: int, split: Split, seed: int) -> list[dict]:
    """One model, trained on the first ``n`` transitions."""
    half = contextlib.nullcontext()
    if method in SHAPE:
        model, words = text_world.from_scratch(SHAPE[method], seed), Words()
        if method == SAME and fast_dtype() == torch.bfloat16:
            # Without its cache, which would keep the weights of the first update.
            half = torch.autocast("cpu", torch.bfloat16, cache_enabled=False)
    else:
        model, words = smollm2()
        lora.apply(model, text_world.ADAPTERS, seed)
    known = text_lake.examples(words, split.train[:n])
    with Clock() as clock, half:
        losses = [row["loss"] for row in finetune.train(model, known, TRAINING[method], seed)]
    run = {"method": method, "n": n, "seed": seed, "cpu_seconds": round(clock.cpu, 1)}
    run |= {"updates": len(losses), "weights": model.num_parameters()}
    if method not in SHAPE:
        lora.merge_all(model)
    run |= test(split, lambda questions: text_world.predict(model, words, questions))
    if method not in SHAPE and n == max(SIZES):
        walks = text_world.walks(split.test_lakes, WALKS, MOVES, seed)
        run["open_loop"] = text_world.open_loop(model, words, walks)
    few = np.linspace(0, len(losses) - 1, 20).round().astype(int)
    return [run | {"steps": (few + 1).tolist(), "loss": [round(losses[i], 4) for i in few]}]


def measure(quick: bool) -> dict:
    seeds = [200] if quick else list(range(200, 205))
    arms = ARMS[2:3] if quick else ARMS
    folder, runs = kept.folder("text_world", text_lake, text_world), []

    def result(name: str, make: Callable[..., list[dict]], *given: object) -> list[dict]:
        file = f"{name.replace(' ', '_').replace(',', '')}.json"
        return kept.once(folder / file, lambda: make(*given))

    for seed in seeds:
        split = text_lake.split(seed, max(SIZES), TEST)
        runs += result(f"{seed} untrained", untrained, split, seed)
        for method, n in arms:
            runs += result(f"{seed} {method} {n}", trained, method, n, split, seed)
    dtype = str(fast_dtype()).removeprefix("torch.")
    return {"seeds": seeds, "dtype": dtype, "runs": runs}


def judge(result: dict) -> list[Goal]:
    runs, goals = by(result["runs"], "method", "n"), []
    share = partial(mean_over_seeds, within=SHARE)
    for (method, n), mine in runs.items():
        parts = []
        for kind, words in KINDS.items():
            shares = [f"{label} {share(values(mine, kind, k))}" for k, label in NAMED.items()]
            parts.append(f"{words}: {', '.join(shares)}")
        if "open_loop" in mine[0]:
            last = share([run["open_loop"][-1] for run in mine])
            parts.append(f"{MOVES} moves in a row on its own words {last}")
        if "cpu_seconds" in mine[0]:
            seconds = np.mean([run["cpu_seconds"] for run in mine])
            parts.append(f"{mine[0]['updates']} updates in {seconds:.0f} CPU-s")
        name = f"FrozenLake in words, {method}" + (f", n = {n}" if n else "")
        goals.append(reported(name, "; ".join(parts)))
    return goals + verdicts(result["runs"])


def verdicts(runs: list[dict]) -> list[Goal]:
    """LoRA against each model from scratch on the same transitions."""
    goals, arms = [], by(runs, "method", "n")
    for (ours, rival, n), part in itertools.product(QUESTIONS, ("state", "whole")):
        if not {(ours, n), (rival, n)} <= arms.keys():  # as with --quick
            continue
        parts = []
        for kind, words in KINDS.items():
            a, b = (np.array(values(arms[method, n], kind, part)) for method in (ours, rival))
            _, low, high = t_interval(a - b)
            verdict = "helps" if low > 0 else "hurts" if high < 0 else "no clear difference"
            parts.append(f"{words}: {mean_over_seeds(a - b, within=(-1, 1))}, {verdict}")
        what = f"Does pretraining help? {ours}, less {rival}, n = {n}: {NAMED[part]} right"
        goals.append(Goal(what, "a verdict with its interval", "; ".join(parts), True))
    return goals


def values(runs: list[dict], kind: str, part: str) -> list[float]:
    """One number per seed, in the order of the seeds."""
    return [run[kind][part] for run in runs]


NAMED = {"state": "next state", "outcome": "reward and end", "whole": "everything"}

"""Zero-shot and few-shot accuracy of SmolLM2-135M-Instruct on five small tasks.

Each task has 48 items. For 1, 4 and 8 solved examples ("shots") in the prompt several draws
of them are tried, the same items after each. Intervals of one prompt are over items; those of
several draws resample draws and items, since both are samples. What examples gain is judged item by
item, as the items are the same with and without them.

Beside it the same question as a chat, zero-shot, with the system prompt that the chat template
inserts by itself, with an empty one, and with none. A chat answers in sentences, so a free answer
counts there as right where it *contains* the right word; the same is given for the plain prompts.
The two tasks with labels are left out: after the template a label such as " negative", with its
blank, is a token that the model would hardly ever write, so that comparing labels measures nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.harness import Goal, by, reported
from course_lib.lm import prompting
from course_lib.lm.probe import words
from course_lib.worlds import tasks
from course_lib.worlds.pretrained import fast_dtype, smollm2

SHOTS = (0, 1, 4, 8)
SYSTEMS = ("default", "empty", "none")


def chat(tokenizer, system: str, prompt: str) -> str:
    """The prompt as the user's message, up to where the reply begins."""
    messages = [{"role": "user", "content": prompt}]
    if system != "default":
        messages = [{"role": "system", "content": ""}, *messages]
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    if system == "none":  # the template has no way to leave it out: cut it off
        text = text[text.index("<|im_start|>user") :]
    return text


def ask(model, tokenizer, task: tasks.Task, shots: list, wrap: Callable, length: int) -> dict:
    """How many answers *are* the right one, and how many contain it."""
    prompts = [
        wrap(prompting.few_shot_prompt(task.instruction, shots, text)) for text, _ in task.items
    ]
    if task.labels:
        given = prompting.classify(model, tokenizer, prompts, task.labels)
    else:
        given = prompting.answers(model, tokenizer, prompts, max_new_tokens=length)
    pairs = [(text, answer) for text, (_, answer) in zip(given, task.items, strict=True)]
    right = [prompting.normalise(text) == prompting.normalise(answer) for text, answer in pairs]
    contained = [f" {' '.join(words(a))} " in f" {' '.join(words(text))} " for text, a in pairs]
    return {
        "accuracy": round(float(np.mean(right)), 4),
        "contains": round(float(np.mean(contained)), 4),
        "right": "".join("01"[x] for x in right),
    }


def measure(quick: bool) -> dict:
    model, tokenizer = smollm2()
    draws = list(range(200, 202 if quick else 204))
    runs = []
    for name, task in tasks.load_tasks(12 if quick else 48).items():
        for count in SHOTS:
            for seed in draws[:1] if count == 0 else draws:
                shots = prompting.draw_shots(task, count, np.random.default_rng(seed))
                run = {"task": name, "prompt": "plain", "shots": count, "seed": seed}
                runs.append(run | ask(model, tokenizer, task, shots, str, 12))
        for system in () if task.labels else SYSTEMS:
            run = {"task": name, "prompt": f"chat, system {system}", "shots": 0, "seed": draws[0]}
            wrap = partial(chat, tokenizer, system)
            runs.append(run | ask(model, tokenizer, task, [], wrap, 24))
        print(name, [(r["prompt"], r["shots"], r["accuracy"]) for r in runs[-8:]], flush=True)
    dtype = str(fast_dtype()).removeprefix("torch.")
    return {"seeds": draws, "dtype": dtype, "summary": summary(runs), "runs": runs}


def summary(runs: list[dict]) -> list[dict]:
    """Accuracy of each task by number of shots, with its interval, for figures."""
    rows = []
    for (task, shots), part in by(by(runs, "prompt")["plain"], "task", "shots").items():
        mean, low, high = (round(x, 4) for x in accuracy(part))
        rows.append({"task": task, "shots": shots, "mean": mean, "low": low, "high": high})
    return rows


def accuracy(runs: list[dict]) -> tuple[float, float, float]:
    """Mean and 95 % interval over draws of shots and over items."""
    return interval(table(runs))


def gain(runs: list[dict], without: list[dict]) -> tuple[float, float, float]:
    """Accuracy gained over one run ``without`` shots, item by item, and its 95 % interval."""
    return interval(table(runs) - table(without))


def table(runs: list[dict]) -> np.ndarray:
    """What is right, 0 or 1: (draws, items)."""
    return np.array([[int(x) for x in run["right"]] for run in runs])


def interval(table: np.ndarray) -> tuple[float, float, float]:
    """Mean of (draws, items) and its 95 % bootstrap interval, both resampled."""
    rng = np.random.default_rng(0)
    means = []
    for _ in range(5000):
        rows = rng.integers(len(table), size=len(table))
        columns = rng.integers(table.shape[1], size=table.shape[1])
        means.append(table[rows][:, columns].mean())
    low, high = np.quantile(means, [0.025, 0.975])
    return float(table.mean()), float(low), float(high)


def judge(result: dict) -> list[Goal]:
    prompts, goals, gained = by(result["runs"], "prompt"), [], 0
    tasks_found = by(prompts["plain"], "task")
    for name, runs in tasks_found.items():
        shots = by(runs, "shots")
        found = {count: accuracy(part) for count, part in shots.items()}
        more = gain(shots[8], shots[0])
        gained += more[1] > 0
        what = f"{name}: accuracy with 0, 1, 4, 8 shots [95 % interval over draws and items]"
        rows = ["{}: {:.2f} [{:.2f}, {:.2f}]".format(count, *x) for count, x in found.items()]
        rows.append("8 less 0, item by item {:+.2f} [{:+.2f}, {:+.2f}]".format(*more))
        goals.append(reported(what, "; ".join(rows)))
    what = f"tasks of {len(tasks_found)} on which 8 shots beat none, item by item, interval above 0"
    goals.append(reported(what, str(gained)))
    for system in SYSTEMS:
        runs = prompts[f"chat, system {system}"]
        what = (
            f"as a chat, zero-shot, system prompt {system}: share of answers with the right word "
            "in them"
        )
        goals.append(reported(what, "; ".join(f"{r['task']} {r['contains']:.2f}" for r in runs)))
    return goals

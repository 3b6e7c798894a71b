"""Tokens per second of pretraining: the kit's GPT, nanoGPT's model and transformers' Llama.

Three models of one shape, random tokens, float32, one thread. One step is a forward pass, the mean
cross-entropy of the next tokens, a backward pass, the gradient's limit and AdamW: the same for all,
so the models alone differ. Freed memory is kept for all, as the kit's own training loop does it.

Each model has a process of its own, as it would have in use. They take turns, a few steps each, in
a new random order each round; the ratio is taken within a round, and its median over the rounds is
reported. A neighbour on the machine slows a whole round and leaves the ratio alone. CPU seconds,
not wall time. Where a process puts its tensors moves its speed by one or two percent for as long as
it lives, so the rounds are spread over several sets of fresh ones.
"""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

import numpy as np
import torch
from torch import nn

from benchmarks.harness import Goal, at_least, one_thread, reported
from benchmarks.transformer import lm_peers
from course_lib import allocator
from course_lib.evaluation import bootstrap_interval
from course_lib.lm import losses, pretrain
from course_lib.lm.gpt import GPT, GPTConfig

SEED = 200
SETS = 5  # of a process for each model
OURS = "course_lib"
PEERS = ("nanoGPT", "transformers")
GOALS = {"transformers": 1.1}  # the same architecture; nanoGPT's is another, lighter one
MODELS: dict[str, Callable[[GPTConfig], nn.Module]] = {
    OURS: GPT,
    "nanoGPT": lm_peers.NanoGPT,
    "transformers": lm_peers.llama,
}
# (model, windows per batch, steps per turn, rounds per set): the lesson's, and one 14 times
# larger.
LESSON = pretrain.SHAKESPEARE_MODEL
SHAPES = {
    "lesson": (LESSON, pretrain.SHAKESPEARE.batch_size, 10, 40),
    "larger": (GPTConfig(vocab_size=1024, context=256, layers=6, width=256, heads=8), 8, 2, 4),
}


def take_turns(
    model_name: str, shape: GPTConfig, batch: int, steps: int, seed: int, asked: Connection
) -> None:
    """Say how many parameters the model has; then CPU tokens per second of a turn, when asked."""
    one_thread()
    allocator.keep_freed_memory()
    torch.manual_seed(seed)
    config = pretrain.Config(batch_size=batch, context=shape.context)
    model = MODELS[model_name](shape)
    optimizer = pretrain.new_optimizer(model, config)
    windows = torch.randint(shape.vocab_size, (batch, shape.context))
    asked.send(sum(parameter.numel() for parameter in model.parameters()))
    while asked.recv():
        start = time.process_time()
        for _ in range(steps):
            loss, _ = losses.next_token_loss(model(windows), windows)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
            optimizer.step()
        asked.send(steps * windows.numel() / (time.process_time() - start))


def tokens_per_second(
    shape: GPTConfig, batch: int, steps: int, rounds: int, seed: int
) -> tuple[list[dict[str, float]], dict[str, int]]:
    """CPU tokens per second of each model in each round, and how many parameters each has."""
    fresh = multiprocessing.get_context("spawn")
    workers = {}
    for name in MODELS:
        asks, asked = fresh.Pipe()
        work = (name, shape, batch, steps, seed, asked)
        fresh.Process(target=take_turns, args=work, daemon=True).start()
        asked.close()  # ours; without it a worker that failed would not be noticed
        workers[name] = asks
    parameters = {name: worker.recv() for name, worker in workers.items()}
    orders, names, found = random.Random(seed), list(MODELS), []
    for _ in range(2 + rounds):  # the first two warm up
        speeds = {}
        for name in orders.sample(names, len(names)):
            workers[name].send(True)
            speeds[name] = workers[name].recv()
        found.append({name: speeds[name] for name in names})
    for worker in workers.values():
        worker.send(False)
    return found[2:], parameters


def measure(quick: bool) -> dict:
    runs, parameters = [], {}
    for seed in range(SEED, SEED + (1 if quick else SETS)):
        for name, (shape, batch, steps, rounds) in SHAPES.items():
            found, parameters[name] = tokens_per_second(shape, batch, steps, rounds, seed)
            for i, speeds in enumerate(found):
                rounded = {model: round(speed) for model, speed in speeds.items()}
                runs.append({"shape": name, "set": seed - SEED, "round": i, **rounded})
    seeds = list(range(SEED, SEED + SETS))
    return {"seeds": seeds, "parameters": parameters, "runs": runs}


def judge(result: dict) -> list[Goal]:
    goals = []
    for shape in SHAPES:
        rows = [run for run in result["runs"] if run["shape"] == shape]
        ours = np.array([row[OURS] for row in rows])
        counts = result["parameters"][shape]
        for peer in PEERS:
            theirs = np.array([row[peer] for row in rows])
            ratio = ours / theirs
            low, high = bootstrap_interval(ratio, np.median)
            what = (
                f"pretraining, {shape} shape ({counts[OURS] / 1e6:.2f}M parameters): tokens/s over "
                f"those of {peer} ({counts[peer] / 1e6:.2f}M), median of rounds [95 % interval]"
            )
            measured = (
                f"{np.median(ratio):.3f} [{low:.3f}, {high:.3f}]: "
                f"{np.median(ours):,.0f} against {np.median(theirs):,.0f}"
            )
            if peer in GOALS:
                goals.append(at_least(what, GOALS[peer], float(np.median(ratio)), measured))
            else:
                goals.append(reported(what, measured))
    return goals

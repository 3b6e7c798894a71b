"""The lesson's character model: bits per character on three held-out plays after two minutes.

Each seed trains `pretrain.SHAKESPEARE` from new weights, in a process of its own, on one thread.
Judged is every character of the held-out plays (`pretrain.held_out_loss`), each with at least
half a window before it. `seconds` is the wall clock of training, `cpu_seconds` what it took of the
processor: on a machine with neighbours the second one is the one to compare.
The first seed stores what it writes at several temperatures, and the checkpoint that shows how
the text changes while it learns.

Beside the model stand what needs no network: counts of characters after the k before them, smoothed
by the shorter count (Witten and Bell 1991, method C), and two compressors.
"""

from __future__ import annotations

import bz2
import collections
import gzip
import lzma
import math
import multiprocessing
import resource
import time
from collections.abc import Sequence

import numpy as np
import torch

from benchmarks.harness import Goal, one_thread
from course_lib.lm import pretrain
from course_lib.lm.generate import Sampling, generate
from course_lib.lm.gpt import GPT
from course_lib.lm.tokenizer import CharTokenizer
from course_lib.worlds import corpus

FIRST_SEED, SEEDS = 210, 5  # 200 to 209 were seen before the last change of the recipe
MOST_BITS, MOST_SECONDS = 2.35, 150.0
PROMPT = "\n\nKING RICHARD.\n"
TEMPERATURES = (0.5, 0.8, 1.0)
ORDERS = (0, 1, 2, 3, 4, 5)


def read() -> tuple[CharTokenizer, torch.Tensor, torch.Tensor]:
    """The tokenizer of the train text, and both texts as tokens."""
    works = corpus.load()
    tokenizer = CharTokenizer.train(works.train_text)
    train, held_out = (
        torch.tensor(tokenizer.encode(text)) for text in (works.train_text, works.held_out_text)
    )
    return tokenizer, train, held_out


def write(model: GPT, tokenizer: CharTokenizer, temperature: float, seed: int) -> str:
    """400 characters after the prompt: read half a window, write half a window, and again.

    Beyond the window that it was trained on the model falls apart.
    """
    tokens, half = tokenizer.encode(PROMPT), model.config.context // 2
    sampling = Sampling(max_new_tokens=half, temperature=temperature)
    generator = torch.Generator().manual_seed(seed)
    while len(tokens) < len(PROMPT) + 400:
        read = torch.tensor([tokens[-half:]])
        found = generate(model, read, sampling=sampling, generator=generator)
        tokens += found.tokens[0, read.shape[1] :].tolist()
    return tokenizer.decode(tokens[len(PROMPT) :][:400])


def train_and_test(seed: int, config: pretrain.Config, characters: int | None) -> dict:
    """Train one model and judge it on the first ``characters`` held-out ones (None: all)."""
    one_thread()
    tokenizer, train, held_out = read()
    torch.manual_seed(seed)
    model = GPT(pretrain.SHAKESPEARE_MODEL)
    rows, samples = [], []
    wall, cpu = time.perf_counter(), time.process_time()
    for row in pretrain.train(model, train, config, seed):
        rows.append(row)
    seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    loss = pretrain.held_out_loss(model, held_out[:characters])
    if seed == FIRST_SEED:
        samples = [
            {"temperature": t, "prompt": PROMPT, "text": write(model, tokenizer, t, seed)}
            for t in TEMPERATURES
        ]
    every = max(1, len(rows) // 50)
    bits = np.array([row["bits"] for row in rows])
    return {
        "seed": seed,
        "model": "gpt",
        "bits_per_character": round(loss / math.log(2), 4),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "parameters": model.num_parameters(),
        "tokens": rows[-1]["tokens"],
        "steps": [row["steps"] for row in rows[every - 1 :: every]],
        "training": [
            round(float(part.mean()), 3) for part in np.split(bits, range(every, len(bits), every))
        ][: len(rows) // every],
        "samples": samples,
    }


def in_new_process(seed: int, config: pretrain.Config, characters: int | None) -> dict:
    """The same in a process of its own, whose peak memory is this run's alone."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(train_and_test, (seed, config, characters))


def count_tables(text: str, order: int) -> list[dict[str, collections.Counter]]:
    """For each k up to ``order``: what followed every stretch of k characters, and how often."""
    tables = []
    for k in range(order + 1):
        table: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
        for i in range(k, len(text)):
            table[text[i - k : i]][text[i]] += 1
        tables.append(dict(table))
    return tables


def count_bits(train: str, test: str, order: int) -> float:
    """``counted_bits`` of the counts of ``train``."""
    return counted_bits(count_tables(train, order), len(set(train)), test)


def counted_bits(tables: list[dict[str, collections.Counter]], characters: int, test: str) -> float:
    """Bits per character of ``test`` by counts of what followed the characters before.

    Witten and Bell's method C: what a context has never seen gets as many votes as the context has
    seen different characters, and the next shorter context divides them; at the end, all characters
    of the train text are alike.
    """
    totals = [{c: sum(counts.values()) for c, counts in table.items()} for table in tables]
    order, bits = len(tables) - 1, 0.0
    for i in range(1, len(test)):
        p = 1 / characters
        for k in range(min(order, i) + 1):
            context = test[i - k : i]
            counts = tables[k].get(context)
            if counts is None:
                break
            kinds, total = len(counts), totals[k][context]
            p = (counts[test[i]] + kinds * p) / (total + kinds)
        bits -= math.log2(p)
    return bits / (len(test) - 1)


def compressed_bits(train: str, test: str) -> dict[str, float]:
    """Bits per character of compressors: what the test text adds to the compressed train text.

    gzip looks back 32 kB and bz2 at most 900 kB, lzma over everything.
    """
    tools = {"gzip": gzip.compress, "bz2": bz2.compress, "lzma": lzma.compress}
    a, both = train.encode(), (train + test).encode()
    return {
        name: 8 * (len(compress(both)) - len(compress(a))) / len(test)
        for name, compress in tools.items()
    }


def baselines(characters: int | None, orders: Sequence[int] = ORDERS) -> list[dict]:
    """One row for each n-gram, with the number of counts that it keeps, and each compressor."""
    works = corpus.load()
    train, test = works.train_text, works.held_out_text[:characters]
    tables, rows = count_tables(train, max(orders)), []
    for k in orders:
        bits = counted_bits(tables[: k + 1], len(set(train)), test)
        counts = sum(len(counter) for table in tables[: k + 1] for counter in table.values())
        rows.append({"model": f"{k + 1}-gram", "bits_per_character": bits, "counts": counts})
    for name, bits in compressed_bits(train, test).items():
        rows.append({"model": name, "bits_per_character": bits})
    return [
        {"seed": None, **row, "bits_per_character": round(row["bits_per_character"], 4)}
        for row in rows
    ]


def measure(quick: bool) -> dict:
    seeds = list(range(FIRST_SEED, FIRST_SEED + (1 if quick else SEEDS)))
    characters = 50_000 if quick else None
    config = pretrain.SHAKESPEARE
    if quick:
        config = pretrain.Config(total_steps=1_000, batch_size=config.batch_size)
    runs = [in_new_process(seed, config, characters) for seed in seeds]
    orders = ORDERS[:3] if quick else ORDERS
    return {"seeds": seeds, "runs": runs + baselines(characters, orders)}


def judge(result: dict) -> list[Goal]:
    runs = [run for run in result["runs"] if run["model"] == "gpt"]
    others = {r["model"]: r["bits_per_character"] for r in result["runs"] if r["model"] != "gpt"}
    bits = [run["bits_per_character"] for run in runs]
    seconds = [run["seconds"] for run in runs]
    cpu = [run["cpu_seconds"] for run in runs]
    peak = [run["peak_mb"] for run in runs]
    good = sum(b <= MOST_BITS for b in bits)
    best = min(others, key=others.get)
    return [
        Goal(
            "character model, held-out Shakespeare: bits per character",
            f"<= {MOST_BITS} on {len(runs)} of {len(runs)} seeds",
            f"{good} of {len(runs)}: worst {max(bits):.3f}, median {np.median(bits):.3f}, "
            f"best {min(bits):.3f}",
            good == len(runs),
        ),
        Goal(
            "character model: training time of the slowest seed, one core",
            f"<= {MOST_SECONDS:g} s",
            f"{max(seconds):.0f} s ({max(cpu):.0f} s of the processor)",
            max(seconds) <= MOST_SECONDS,
        ),
        Goal("character model: peak memory", "<= 1500 MB", f"{max(peak)} MB", max(peak) <= 1500),
        Goal(
            "without a network, the same text: bits per character",
            "reported",
            ", ".join(f"{name} {value:.2f}" for name, value in others.items())
            + f"; lowest: {best}",
            True,
        ),
    ]

"""Pre-norm against post-norm, and the first weights: held-out loss, five seeds an arm.

Pre-norm (Xiong et al., arXiv 2002.04745) reads a normalised copy of the stream and adds to it;
post-norm (Vaswani et al., 1706.03762) normalises the sum, so the stream itself passes a norm after
each branch. Both are trained at three learning rates, with a warm-up and without. Their first
weights have the spread 1 / sqrt(C), at which a matrix keeps the size of a vector, as Xiong et al.
assume. The other half leaves the norm where it is and changes the first weights: a spread of 0.02
(as GPT-2), 1 / sqrt(C), 1, or PyTorch's own defaults; the last matrix of each branch divided by
sqrt(2 L) or not.

One model of eight blocks and width 32, 250 updates of 128 characters, AdamW, gradients shortened to
a norm of 1: small enough for five seeds of every arm on one core, and no larger. Before the first
update two things are recorded: the size of the stream after each block, and the gradient of each
block's matrices. Judged on the first 10,000 held-out characters. A run counts as stuck if it knows
hardly more than the letters' frequencies.
"""

from __future__ import annotations

import functools
import math
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.harness import Goal, reported
from benchmarks.transformer.pretrain_chars import read
from benchmarks.transformer.side_by_side import train_together
from course_lib.evaluation import t_interval
from course_lib.lm import losses, pretrain
from course_lib.lm.cache import Cache
from course_lib.lm.gpt import GPT, Block, GPTConfig

SEEDS = (200, 201, 202, 203, 204)
JUDGED = 10_000
STUCK = 4.7  # bits; the letters' frequencies alone have 4.83 (`pretrain_chars`)
SHAPE = GPTConfig(vocab_size=84, context=32, layers=8, width=32, heads=1)
RECIPE = replace(pretrain.SHAKESPEARE, total_steps=250, batch_size=4, context=32)
KEEPS_SIZE = round(SHAPE.width**-0.5, 4)  # the spread at which a matrix keeps a vector's size


@dataclass(frozen=True)
class Arm:
    """One design: where the norm stands, the first weights, the schedule."""

    norm: str = "pre"  # "pre" or "post"
    std: float | None = KEEPS_SIZE  # of all matrices; None: what PyTorch's layers come with
    scaled: bool = False  # the last matrix of each branch over sqrt(2 L)
    rate: float = 3e-3  # AdamW's, at its highest
    warmup: float = 0.1  # share of the updates in which the rate rises


RATES, WARMUPS = (1e-3, 3e-3, 1e-2), (0.0, 0.1)
NORMS = tuple(
    Arm(norm, rate=rate, warmup=warmup)
    for rate in RATES
    for warmup in WARMUPS
    for norm in ("pre", "post")
)
FIRST_WEIGHTS = (
    *(Arm(std=0.02, scaled=scaled) for scaled in (True, False)),
    *(Arm(std=KEEPS_SIZE, scaled=scaled) for scaled in (True, False)),
    Arm(std=1.0),
    Arm(std=None),
)
ARMS = tuple(dict.fromkeys(NORMS + FIRST_WEIGHTS))  # one arm is in both


class PostNormBlock(Block):
    """The block of 2017: the norms stand on the stream, after each sum."""

    def forward(self, x: Tensor, turn: Tensor, mask: Tensor, cache: Cache | None = None) -> Tensor:
        """``x`` (B, T, C) to (B, T, C), as in `Block`."""
        look = functools.partial(self.attention, turn=turn, mask=mask, cache=cache)
        x = self.norm1(x + look(x))
        return self.norm2(x + self.feed_forward(x))


def new_model(arm: Arm, shape: GPTConfig = SHAPE) -> GPT:
    """A model of ``shape`` with the norm and the first weights of ``arm``."""
    model = GPT(shape)
    body = model.transformer
    if arm.norm == "post":  # the last sum is normalised already
        body.blocks = nn.ModuleList(PostNormBlock(shape, i) for i in range(shape.layers))
        body.norm = nn.Identity()
    for module in model.modules():
        if not isinstance(module, nn.Linear | nn.Embedding):
            continue
        if arm.std is None:
            module.reset_parameters()  # the head and the embedding are one matrix
        else:
            nn.init.normal_(module.weight, std=arm.std)
    if arm.scaled:
        with torch.no_grad():
            for block in body.blocks:
                for last in (block.attention.out, block.feed_forward.down):
                    last.weight /= math.sqrt(2 * shape.layers)
    if arm.std is None:
        model.embedding.reset_parameters()
    return model


def first_look(model: GPT, windows: Tensor) -> dict[str, list[float]]:
    """Before any update: each block's stream (its root mean square) and gradient (its norm)."""
    sizes: list[float] = []
    hooks = [
        block.register_forward_hook(lambda *a: sizes.append(a[2].pow(2).mean().sqrt().item()))
        for block in model.transformer.blocks
    ]
    loss, _ = losses.next_token_loss(model(windows), windows)
    loss.backward()
    for hook in hooks:
        hook.remove()
    gradients = [
        math.sqrt(sum(p.grad.pow(2).sum().item() for p in block.parameters() if p.dim() == 2))
        for block in model.transformer.blocks
    ]
    model.zero_grad()
    return {"stream": sizes, "gradients": gradients, "first_bits": loss.item() / math.log(2)}


def runs_of(seed: int, arms: tuple[Arm, ...] = ARMS) -> list[dict]:
    """Every arm with one seed for weights and windows; the arms with one kind of block together."""
    _, train, held_out = read()
    rows = {}
    for norm in ("pre", "post"):
        group, models = [arm for arm in arms if arm.norm == norm], []
        for arm in group:
            torch.manual_seed(seed)
            models.append(new_model(arm))
        looks = [first_look(model, train[: 8 * SHAPE.context].view(8, -1)) for model in models]
        configs = [replace(RECIPE, learning_rate=arm.rate, warmup=arm.warmup) for arm in group]
        train_together(models, train, configs, [seed] * len(group))
        for arm, model, look in zip(group, models, looks, strict=True):
            bits = pretrain.held_out_loss(model, held_out[:JUDGED]) / math.log(2)
            rows[arm] = {
                "seed": seed,
                **asdict(arm),
                "bits_per_character": round(bits, 4) if math.isfinite(bits) else None,
                "first_bits": round(look["first_bits"], 2),
                "stream": [round(x, 4) for x in look["stream"]],
                "gradients": [round(x, 4) for x in look["gradients"]],
            }
    return [rows[arm] for arm in arms]


def measure(quick: bool) -> dict:
    seeds, arms = (SEEDS[:1], ARMS[:2]) if quick else (SEEDS, ARMS)
    return {"seeds": list(seeds), "runs": [run for seed in seeds for run in runs_of(seed, arms)]}


def bits_of(result: dict, arm: Arm) -> list[float]:
    """Held-out bits of one arm, a seed each, in the order of the seeds."""
    return [
        math.nan if run["bits_per_character"] is None else run["bits_per_character"]
        for run in rows_of(result, arm)
    ]


def rows_of(result: dict, arm: Arm) -> list[dict]:
    """The runs of one arm."""
    wanted = asdict(arm)
    return [run for run in result["runs"] if all(run[k] == v for k, v in wanted.items())]


def interval(values: list[float]) -> str:
    """Mean and t interval: "3.40 [3.31, 3.49]"."""
    middle, low, high = t_interval(values)
    return f"{middle:.2f} [{low:.2f}, {high:.2f}]"


def verdict(values: list[float]) -> str:
    """What a difference in bits says: fewer bits are better."""
    _, low, high = t_interval(values)
    return "worse" if low > 0 else "better" if high < 0 else "no clear difference"


def judge(result: dict) -> list[Goal]:
    seeds, goals = len(result["seeds"]), []
    for pre, post in zip(NORMS[::2], NORMS[1::2], strict=True):
        ours, theirs = bits_of(result, pre), bits_of(result, post)
        if not (ours and theirs):
            continue
        apart = [b - a for a, b in zip(ours, theirs, strict=True)]
        warm = f"warm-up {pre.warmup:.0%}" if pre.warmup else "no warm-up"
        stuck = " and ".join(
            f"{sum(not bits < STUCK for bits in found)}" for found in (ours, theirs)
        )
        goals.append(
            reported(
                f"norm, rate {pre.rate:g}, {warm}: bits of pre-norm and of post-norm",
                f"{interval(ours)} and {interval(theirs)}; post-norm less pre-norm "
                f"{interval(apart)}: {verdict(apart)}; stuck {stuck} of {seeds} seeds",
            )
        )
    base = bits_of(result, FIRST_WEIGHTS[0])
    for arm in FIRST_WEIGHTS:
        if not (found := bits_of(result, arm)):
            continue
        spread = "PyTorch's own" if arm.std is None else f"spread {arm.std:g}"
        ends = ", the last ones scaled" if arm.scaled else ""
        rows = rows_of(result, arm)
        first = np.mean([row["first_bits"] for row in rows])
        stream = [np.mean([row["stream"][i] for row in rows]) for i in (0, -1)]
        apart = [b - a for a, b in zip(base, found, strict=True)]
        than = "" if found == base else f"; less the first {interval(apart)}: {verdict(apart)}"
        goals.append(
            reported(
                f"first weights, {spread}{ends}: bits before training and after; the stream's size",
                f"{first:.1f} and {interval(found)}{than}; size after the first block "
                f"{stream[0]:.3g}, after the last {stream[1]:.3g}",
            )
        )
    for std in (0.02, KEEPS_SIZE):
        plain, scaled = (bits_of(result, Arm(std=std, scaled=cut)) for cut in (False, True))
        if plain and scaled:
            apart = [b - a for a, b in zip(plain, scaled, strict=True)]
            goals.append(
                reported(
                    f"first weights, spread {std:g}: bits with the last ones scaled less without",
                    f"{interval(apart)}: {verdict(apart)}",
                )
            )
    for norm in ("pre", "post"):
        rows = rows_of(result, Arm(norm, rate=RATES[0], warmup=WARMUPS[0]))
        if rows:
            ends = [interval([row["gradients"][i] for row in rows]) for i in (0, -1)]
            goals.append(
                reported(
                    f"{norm}-norm, before the first update: gradient of the first block's matrices "
                    "and of the last's",
                    " and ".join(ends),
                )
            )
    return goals

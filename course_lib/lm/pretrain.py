"""Self-supervised pretraining: read random windows of text, predict every next token.

The objective is the language model's of Radford et al. ("Language Models are Unsupervised Multitask
Learners", 2019): no labels but the text itself. The recipe is the usual one: AdamW (Loshchilov and
Hutter, arXiv 1711.05101) with weight decay on matrices only, a short warm-up, then a cosine down to
a small learning rate, and gradients shortened to a limit (as in GPT-3, arXiv 2005.14165,
appendix B). Left out: dropout (every window is new), mixed precision, gradient accumulation.

``train`` reads top to bottom: windows, loss, gradient, step. The schedule is laid out over
``Config.total_steps`` updates, so that the learning rate has come down when training ends. A run
cut short by a time budget ends at a high rate, and its model is worse than it could be after so
many tokens: choose ``total_steps`` for the time that you have.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib import allocator, limits, randomness
from course_lib.lm import losses
from course_lib.lm.gpt import GPT, GPTConfig


@dataclass(frozen=True)
class Config:
    """Settings of one run."""

    total_steps: int = 2_000  # updates, over which the learning rate rises and falls
    batch_size: int = 16  # windows per update: 8 to 64 for small models
    context: int = 64  # tokens per window: at most what the model is meant to read
    learning_rate: float = 3e-3  # AdamW's, at its highest: 3e-4 (large models) to 5e-3 (small)
    warmup: float = 0.05  # share of the updates in which the rate rises from 0: 0.01 to 0.1
    final_rate: float = 0.05  # the last rate as a share of the highest: 0 to 0.1
    betas: tuple[float, float] = (0.9, 0.98)  # AdamW's memories: the second 0.95 to 0.999
    weight_decay: float = 0.1  # of matrices; norms are left alone: 0 to 0.1
    max_grad_norm: float = 1.0  # longer gradients are shortened to this

    def __post_init__(self) -> None:
        limits.check(
            self,
            ("context", lambda x: x >= 2, "be at least 2: a token and the one after it"),
            at_least_1="total_steps batch_size",
            above_0="learning_rate max_grad_norm",
            fraction="warmup final_rate",
            not_negative="weight_decay",
        )


def train(model: GPT, tokens: Tensor, config: Config, seed: int = 0) -> Iterator[dict[str, float]]:
    """Train ``model`` in place on one long text, ``tokens`` (N,); one record per update.

    "steps" counts updates and "tokens" the tokens read; "loss" is the batch's, in nats per token,
    "bits" the same in bits.
    """
    allocator.keep_freed_memory()
    generator = randomness.generator(seed)
    optimizer = new_optimizer(model, config)
    model.train()
    for step in range(1, config.total_steps + 1):
        windows = random_windows(tokens, config.batch_size, config.context, generator)
        rate = learning_rate(step, config)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss, _ = losses.next_token_loss(model(windows), windows)
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
        optimizer.step()
        yield {
            "steps": step,
            "tokens": step * windows.numel(),
            "loss": loss.item(),
            "bits": loss.item() / math.log(2),
            "lr": rate,
            "grad_norm": norm.item(),
        }


def random_windows(tokens: Tensor, batch: int, context: int, generator: torch.Generator) -> Tensor:
    """``batch`` stretches of ``context`` tokens from anywhere in ``tokens`` (N,): (B, T)."""
    if len(tokens) < context:
        raise ValueError(f"the text holds {len(tokens)} tokens, fewer than a window of {context}")
    starts = torch.randint(len(tokens) - context + 1, (batch, 1), generator=generator)
    return tokens[starts + torch.arange(context)].to(torch.int64)


def learning_rate(step: int, config: Config) -> float:
    """The rate of update ``step``, from 1 on: a line up, half a cosine down, and level after."""
    rise = math.ceil(config.warmup * config.total_steps)
    if step <= rise:
        return config.learning_rate * step / rise
    done = min(1.0, (step - rise) / max(1, config.total_steps - rise))
    share = config.final_rate + (1 - config.final_rate) * (1 + math.cos(math.pi * done)) / 2
    return config.learning_rate * share


def new_optimizer(model: nn.Module, config: Config) -> torch.optim.AdamW:
    """AdamW; the weights of the norms are not decayed, since 0 is not where they should go."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)


@torch.no_grad()
def held_out_loss(
    model: GPT, tokens: Tensor, context: int | None = None, batch_size: int = 32
) -> float:
    """Mean negative log-probability of ``tokens`` (N,) but the first, in nats per token.

    Deterministic. Windows of ``context`` tokens (None: the model's own) overlap by half, and each
    token is judged once: in the later half of a window, where at least ``context / 2`` tokens stand
    before it. Only the first window is judged whole. Divide by ln 2 for bits.
    """
    context = model.config.context if context is None else context
    if context < 2 or len(tokens) < 2:
        raise ValueError(
            f"needs 2 tokens and a window of 2 at least, got {len(tokens)} tokens and a window "
            f"of {context}"
        )
    was_training = model.training
    model.eval()
    total = 0.0
    for windows, first in _windows(tokens, context, batch_size):
        logits = model(windows[:, :-1])[:, first:].float()
        targets = windows[:, 1 + first :]
        total += F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum").item()
    model.train(was_training)
    return total / (len(tokens) - 1)


def _windows(tokens: Tensor, context: int, batch_size: int) -> Iterator[tuple[Tensor, int]]:
    """Batches of windows of ``context`` inputs and the target after them; first judged input."""
    tokens = tokens.to(torch.int64)
    yield tokens[None, : context + 1], 0
    stride = context // 2
    starts = torch.arange(stride, max(stride, len(tokens) - context), stride)
    for rows in starts.split(batch_size) if len(starts) else ():
        yield tokens[rows[:, None] + torch.arange(context + 1)], context - stride
    judged = context + stride * len(starts)  # inputs judged so far
    if judged < len(tokens) - 1:
        start = len(tokens) - 1 - context
        yield tokens[None, start:], judged - start


# One character per token, for the 84 characters of ``corpus``: 0.45 million weights read 2.2
# million characters, in little more than two minutes on one core. A model of half the width reads
# faster and learns less from each character; a wider one the other way round.
SHAKESPEARE_MODEL = GPTConfig(vocab_size=84, context=64, layers=4, width=96, heads=3)
SHAKESPEARE = Config(total_steps=4_200, batch_size=8, context=64)

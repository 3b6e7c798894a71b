"""Reward models: a transformer that reads a reply and puts a number on it.

The body is the language model's own, embedding and blocks (`lm/gpt.py`); in place of the head
that scores the next token stands one that gives a single number, read at the last real token:
only there has the model seen the whole reply. It learns from pairs alone. By Bradley and Terry
(1952) the probability that A is preferred is sigmoid(r_A - r_B), and the loss is the negative
log-likelihood of the choices that were made (`pairwise.py`; Christiano et al., arXiv 1706.03741,
equation 1; Ouyang et al., arXiv 2203.02155, equation 1). Only differences are ever learned, so the
zero is free: `center` sets it.

Left out: several rankings per prompt in one batch, a margin in the loss, a reward per step.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from course_lib import limits, randomness, weights
from course_lib.lm import finetune
from course_lib.lm.gpt import GPT, GPTConfig, Transformer
from course_lib.rlhf.pairwise import pairwise_loss
from course_lib.rlhf.rollouts import Reward

Tokens = Sequence[Sequence[int]]  # one list of token numbers for each text, without padding


@dataclass(frozen=True)
class Config:
    """Settings of one run."""

    total_steps: int = 100  # updates, over which the learning rate rises and falls
    batch_size: int = 32  # pairs per update: 8 to 64
    learning_rate: float = 1e-3  # AdamW's, at its highest: 1e-5 (large models) to 3e-3 (tiny)
    warmup: float = 0.1  # share of the updates in which the rate rises from 0: 0 to 0.1
    betas: tuple[float, float] = (0.9, 0.98)  # AdamW's memories
    weight_decay: float = 0.0  # 0 to 0.1
    max_grad_norm: float = 1.0  # longer gradients are shortened to this

    flip: float = 0.0  # share of the labels that carelessness has turned round: 0 to 0.4

    def __post_init__(self) -> None:
        limits.check(
            self,
            ("flip", lambda share: 0 <= share < 0.5, "lie in [0, 0.5)"),
            at_least_1="total_steps batch_size",
            above_0="learning_rate max_grad_norm",
            fraction="warmup",
            not_negative="weight_decay",
        )


class Comparison(NamedTuple):
    """A labelled pair as token numbers; the replies end with EOS where one was written."""

    prompt: Sequence[int]
    a: Sequence[int]
    b: Sequence[int]
    share: float = 1.0  # of A: 1 A is better, 0 B is better, 0.5 a tie


def last_token(values: Tensor, valid_mask: Tensor) -> Tensor:
    """The value at the last real token of each row, (B,); 0 where a row has none.

    ``values`` (B, T), ``valid_mask`` (B, T) True at tokens and False at padding, on either side.
    What a causal model says at padding is made of nothing.
    """
    column = torch.arange(values.shape[1], device=values.device)
    last = torch.where(valid_mask.bool(), column, -1).amax(dim=1)  # (B,); -1: no token
    picked = values.gather(1, last.clamp(min=0)[:, None])[:, 0]
    return torch.where(last >= 0, picked, 0.0)


# --- The model ---------------------------------------------------------------------------------


class RewardModel(nn.Module):
    """Token numbers in, one number per row out."""

    def __init__(self, config: GPTConfig):
        """A fresh body; `from_lm` takes that of a language model."""
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.transformer = Transformer(config)
        self.head = nn.Linear(config.width, 1, bias=False)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.register_buffer("shift", torch.zeros(()))

    @classmethod
    def from_lm(cls, model: GPT, seed: int = 0) -> RewardModel:
        """A copy of a language model's body, which knows the language, under a new head."""
        with torch.device("meta"):
            fresh = cls(model.config)
        fresh.embedding, fresh.transformer = copy.deepcopy((model.embedding, model.transformer))
        fresh.head.to_empty(device="cpu")
        fresh.shift = torch.zeros(())
        return fresh.requires_grad_().reset_head(seed)

    def reset_head(self, seed: int) -> RewardModel:
        """Draw the head anew, so small that all rewards start near 0 and all p near one half."""
        generator = randomness.generator(seed)
        std = 0.1 / math.sqrt(self.config.width)
        nn.init.normal_(self.head.weight, std=std, generator=generator)
        return self

    def values(self, tokens: Tensor, valid_mask: Tensor | None = None) -> Tensor:
        """The number that the head reads at every position of ``tokens`` (B, T): (B, T)."""
        hidden = self.transformer(self.embedding(tokens), valid_mask)
        return self.head(hidden)[..., 0] - self.shift

    def forward(self, tokens: Tensor, valid_mask: Tensor) -> Tensor:
        """The reward of each row, (B,), read at its last real token. Padding on either side."""
        return last_token(self.values(tokens, valid_mask), valid_mask)


class Ensemble(nn.Module):
    """Several reward models that began and learned differently; their spread is a warning.

    Lakshminarayanan et al., arXiv 1612.01474; for rewards Coste et al., arXiv 2310.02743.
    """

    def __init__(self, members: Sequence[RewardModel]):
        super().__init__()
        if len(members) < 2:
            raise ValueError(f"an ensemble needs at least 2 members, got {len(members)}")
        self.members = nn.ModuleList(members)

    def forward(self, tokens: Tensor, valid_mask: Tensor) -> Tensor:
        """The rewards of every member, (members, B)."""
        return torch.stack([member(tokens, valid_mask) for member in self.members])


@torch.no_grad()
def rewards(
    model: RewardModel | Ensemble, prompts: Tokens, responses: Tokens, batch_size: int = 256
) -> Tensor:
    """Rewards of responses to prompts, (N,), or (members, N) of an ensemble."""
    found = []
    for start in range(0, len(prompts), batch_size):
        stop = start + batch_size
        batch = _rows(prompts[start:stop], responses[start:stop])
        found.append(model(batch.tokens, batch.valid_mask))
    return torch.cat(found, dim=-1)


def pair_rewards(
    model: RewardModel | Ensemble, examples: Sequence[Comparison]
) -> tuple[Tensor, Tensor, Tensor]:
    """Rewards of A and of B, (N,) each or (members, N), and the shares of A, (N,)."""
    prompts, a, b, shares = zip(*examples, strict=True)
    return rewards(model, prompts, a), rewards(model, prompts, b), torch.tensor(shares)


def scorer(model: RewardModel | Ensemble, pessimism: float = 0.0) -> Reward:
    """The model as a function of prompts and responses, without gradients: (B,).

    Of an ensemble: mean - ``pessimism`` times standard deviation. A policy that looks for high
    rewards finds those that only some members give; a pessimist does not pay for them.
    """

    def reward(prompts: Tokens, responses: Tokens) -> Tensor:
        found = rewards(model, prompts, responses).float()
        if isinstance(model, Ensemble):
            return found.mean(0) - pessimism * found.std(0)
        return found

    return reward


def center(model: RewardModel | Ensemble, prompts: Tokens, responses: Tokens) -> None:
    """Set the zero: the mean reward of these responses, for each member of an ensemble by itself.

    Pairs leave the zero open. Demonstrations are a usual choice (Ouyang et al., arXiv 2203.02155,
    section 3.5); Ziegler et al. (arXiv 1909.08593) took samples of the model before training.
    """
    for member in model.members if isinstance(model, Ensemble) else [model]:
        member.shift += rewards(member, prompts, responses).mean()


def _rows(prompts: Tokens, responses: Tokens) -> finetune.Batch:
    pairs = zip(prompts, responses, strict=True)
    return finetune.collate([finetune.Example(prompt, response) for prompt, response in pairs])


# --- Training ----------------------------------------------------------------------------------


def train(
    model: RewardModel, examples: Sequence[Comparison], config: Config, seed: int = 0
) -> Iterator[dict[str, float]]:
    """Train in place what has ``requires_grad``; one record per update.

    Each pass over ``examples`` is shuffled anew. "steps" counts updates, "pairs" the comparisons
    learned from; "loss", "accuracy" and "margin" are those of the update's batch *before* it.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not examples:
        raise ValueError("train needs at least one comparison, got none")
    if not parameters:
        raise ValueError("nothing in this model has `requires_grad`, so nothing would learn")
    generator = randomness.generator(seed, stream=2)
    optimizer = torch.optim.AdamW(
        parameters,
        lr=config.learning_rate,
        betas=config.betas,
        weight_decay=config.weight_decay,
        fused=True,
    )
    batches = randomness.shuffled_batches(len(examples), config.batch_size, generator)
    for step in range(1, config.total_steps + 1):
        prompts, a, b, shares = zip(*(examples[i] for i in next(batches)), strict=True)
        rows = _rows(prompts * 2, a + b)  # both replies in one forward pass
        for group in optimizer.param_groups:
            group["lr"] = finetune.learning_rate(step, config)
        chosen, rejected = model(rows.tokens, rows.valid_mask).chunk(2)
        loss, metrics = pairwise_loss(chosen, rejected, torch.tensor(shares), config.flip)
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
        optimizer.step()
        yield {
            "steps": step,
            "pairs": step * config.batch_size,
            **{name: float(value) for name, value in metrics.items()},
            "grad_norm": norm.item(),
        }


# --- Files -------------------------------------------------------------------------------------


def save(model: RewardModel, path: Path | str) -> None:
    """Write weights and shape of ``model`` to one safetensors file."""
    weights.save(path, model.state_dict(), "config", asdict(model.config))


def load(path: Path | str) -> RewardModel:
    """Read a model that `save` wrote."""
    tensors, config = weights.load(path, "config")
    model = RewardModel(GPTConfig(**config))
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:  # the weights of something else, such as a language model
        raise ValueError(f"{path} was not written by `reward_model.save`: {error}") from error
    return model

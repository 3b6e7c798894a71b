"""Reward models: a transformer that reads a reply and puts a number on it.

The body is the language model's own, embedding and blocks (`lm/gpt.py`); in place of the head
that scores the next token stands one that gives a single number, read at the last real token:
only there has the model seen the whole reply. It learns from pairs alone. By Bradley and Terry
(1952) the probability that A is preferred is sigmoid(r_A - r_B), and the loss is the surprise at
the choices that were made (Christiano et al., arXiv 1706.03741, equation 1; Ouyang et al., arXiv
2203.02155, equation 1). Only differences are ever learned, so the zero is free: `center` sets it.

Left out: several rankings per prompt in one batch, a margin in the loss, a reward per step.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from course_lib import randomness
from course_lib.lm import finetune
from course_lib.lm.gpt import GPT, GPTConfig, Transformer
from course_lib.rlhf.pairwise import (  # noqa: F401, what a reward model needs stands here, too
    Calibration,
    accuracy,
    calibration,
    noisy_nll,
    pairwise_loss,
    pairwise_nll,
)
from course_lib.rlhf.preferences import Pair

if TYPE_CHECKING:
    from course_lib.rlhf.rollouts import Reward


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

    def __post_init__(self) -> None:
        limits = [
            ("total_steps batch_size", lambda x: x >= 1, "be at least 1"),
            ("learning_rate max_grad_norm", lambda x: x > 0, "be above 0"),
            ("warmup", lambda x: 0 <= x <= 1, "lie in [0, 1]"),
            ("weight_decay", lambda x: x >= 0, "not be negative"),
        ]
        for names, holds, limit in limits:
            for name in names.split():
                if not holds(getattr(self, name)):
                    raise ValueError(f"{name} must {limit}, got {getattr(self, name)}")


class Comparison(NamedTuple):
    """A labelled pair as token numbers; the replies end with EOS where one was written."""

    prompt: Sequence[int]
    a: Sequence[int]
    b: Sequence[int]
    share: float = 1.0  # of A: 1 A is better, 0 B is better, 0.5 a tie


def comparisons(
    pairs: Sequence[Pair],
    shares: Sequence[float],
    prompt_tokens: Callable[[str], list[int]],
    reply_tokens: Callable[[str], list[int]],
) -> list[Comparison]:
    """Labelled pairs of texts as token numbers, such as `concierge.prompt_tokens` gives."""
    return [
        Comparison(prompt_tokens(pair.prompt), reply_tokens(pair.a), reply_tokens(pair.b), share)
        for pair, share in zip(pairs, shares, strict=True)
    ]


def last_token(values: Tensor, valid_mask: Tensor) -> Tensor:
    """The value at the last real token of each row, (B,); 0 where a row has none.

    ``values`` (B, T), ``valid_mask`` (B, T) True at tokens and False at padding, on either side.
    What a causal model says at padding is made of nothing.
    """
    T = values.shape[1]
    column = torch.arange(T, device=values.device)
    last = torch.where(valid_mask.bool(), column, -1).amax(dim=1)  # (B,); -1: no token
    picked = values.gather(1, last.clamp(min=0)[:, None])[:, 0]
    return torch.where(last >= 0, picked, torch.zeros_like(picked))


# --- The model ---------------------------------------------------------------------------------


class RewardModel(nn.Module):
    """Token numbers in, one number per row out."""

    def __init__(
        self, config: GPTConfig, last_token: Callable[[Tensor, Tensor], Tensor] = last_token
    ):
        """A fresh body; see `from_lm`. ``last_token(values, valid_mask)`` may be your own."""
        super().__init__()
        self.config, self.last_token = config, last_token
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.transformer = Transformer(config)
        self.head = nn.Linear(config.width, 1, bias=False)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.register_buffer("shift", torch.zeros(()))

    @classmethod
    def from_lm(
        cls,
        model: GPT,
        seed: int = 0,
        last_token: Callable[[Tensor, Tensor], Tensor] = last_token,
    ) -> RewardModel:
        """A copy of a language model's body, which knows the language, under a new head."""
        with torch.device("meta"):
            fresh = cls(model.config, last_token)
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
        return self.last_token(self.values(tokens, valid_mask), valid_mask)


class Ensemble(nn.Module):
    """Several reward models that began and learned differently. Where they disagree, none knows.

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

    def judge(self, tokens: Tensor, valid_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation over the members, (B,) each."""
        rewards = self(tokens, valid_mask)
        return rewards.mean(0), rewards.std(0)


@torch.no_grad()
def rewards(
    model: RewardModel | Ensemble,
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    batch_size: int = 256,
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
    prompts = [example.prompt for example in examples]
    a = rewards(model, prompts, [example.a for example in examples])
    b = rewards(model, prompts, [example.b for example in examples])
    return a, b, torch.tensor([example.share for example in examples])


def scorer(model: RewardModel | Ensemble, pessimism: float = 0.0) -> Reward:
    """The model as a function of prompts and responses, without gradients: (B,).

    Of an ensemble: mean - ``pessimism`` times standard deviation. A policy that looks for high
    rewards finds those that only some members give; a pessimist does not pay for them.
    """

    def reward(prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]) -> Tensor:
        found = rewards(model, prompts, responses).float()
        if isinstance(model, Ensemble):
            return found.mean(0) - pessimism * found.std(0)
        return found

    return reward


def center(
    model: RewardModel | Ensemble,
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
) -> None:
    """Set the zero: the mean reward of these responses, for each member of an ensemble by itself.

    Pairs leave the zero open. Demonstrations are a usual choice (arXiv 1909.08593, 2.2).
    """
    for member in model.members if isinstance(model, Ensemble) else [model]:
        member.shift += rewards(member, prompts, responses).mean()


def _rows(prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]) -> finetune.Batch:
    pairs = zip(prompts, responses, strict=True)
    return finetune.collate([finetune.Example(prompt, response) for prompt, response in pairs])


# --- Training ----------------------------------------------------------------------------------


def train(
    model: RewardModel,
    examples: Sequence[Comparison],
    config: Config,
    seed: int = 0,
    *,
    pairwise_loss: Callable[..., tuple[Tensor, dict[str, Tensor]]] = pairwise_loss,
) -> Iterator[dict[str, float]]:
    """Train in place what has ``requires_grad``; one record per update.

    Each pass over ``examples`` is shuffled anew. "steps" counts updates, "pairs" the comparisons
    learned from; "loss", "accuracy" and "margin" are those of the update's batch *before* it.
    ``pairwise_loss(rewards of a, rewards of b, share)`` may be your own.
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
        batch = [examples[i] for i in next(batches)]
        rows = _rows(
            [example.prompt for example in batch] * 2,
            [example.a for example in batch] + [example.b for example in batch],
        )
        for group in optimizer.param_groups:
            group["lr"] = finetune.learning_rate(step, config)
        # Both replies in one forward pass.
        chosen, rejected = model(rows.tokens, rows.valid_mask).chunk(2)
        share = torch.tensor([example.share for example in batch])
        loss, metrics = pairwise_loss(chosen, rejected, share)
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
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(weights, path, metadata={"config": json.dumps(asdict(model.config))})


def load(path: Path | str) -> RewardModel:
    """Read a model that `save` wrote."""
    try:
        with safe_open(path, framework="pt") as file:
            config = GPTConfig(**json.loads(file.metadata()["config"]))
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        model = RewardModel(config)
        model.load_state_dict(weights)
    except (SafetensorError, KeyError, TypeError, RuntimeError) as error:
        raise ValueError(
            f"{path} does not hold a model written by `reward_model.save`: {error}"
        ) from error
    return model

"""Supervised fine-tuning (SFT): learn to answer from examples of a prompt and its response.

The loss is the one of pretraining, on fewer tokens: only those of the *response* count, given the
prompt (Ouyang et al., "Training language models to follow instructions", arXiv 2203.02155). The
end-of-sequence token belongs to the response, so that the model also learns when to stop.

``train`` works for a whole model and for adapters (``lora.apply``): whatever has
``requires_grad`` learns. Left out: dropout, weighting of examples, mixing in of other text.

Examples are shorter than a row of a batch is long. ``collate`` fills up with padding, ``pack`` puts
several examples into one row and keeps them apart by an attention mask. No position needs to
restart there: rotary attention knows only *differences* of positions (arXiv 2104.09864).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from course_lib import allocator, limits, randomness
from course_lib.lm import losses
from course_lib.lm.gpt import GPT


@dataclass(frozen=True)
class Config:
    """Settings of one run."""

    total_steps: int = 60  # updates, over which the learning rate rises and falls
    batch_size: int = 16  # examples per update: 8 to 128
    row_length: int | None = 256  # tokens of a packed row; None: one padded example per row
    micro_batch: int = 2  # rows per forward pass; less needs less memory: 1 to 16
    learning_rate: float = 1e-3  # AdamW's, at its highest: 1e-5 (whole model) to 2e-3 (adapters)
    warmup: float = 0.1  # share of the updates in which the rate rises from 0: 0 to 0.1
    betas: tuple[float, float] = (0.9, 0.98)  # AdamW's memories
    weight_decay: float = 0.0  # 0 to 0.1
    max_grad_norm: float = 1.0  # longer gradients are shortened to this

    def __post_init__(self) -> None:
        limits.check(
            self,
            ("row_length", lambda length: length >= 2, "be at least 2"),
            at_least_1="total_steps batch_size micro_batch",
            above_0="learning_rate max_grad_norm",
            not_negative="weight_decay",
            fraction="warmup",
            optional="row_length",
        )


# The invented language of `worlds/belu.py`, with the adapters `lora.BELU`.
# Short rows, one at a time: training takes half the memory that rows of 256 tokens would.
BELU = Config(total_steps=70, batch_size=8, row_length=128, micro_batch=1, learning_rate=4e-3)


class Example(NamedTuple):
    """One prompt and the response to learn, as token numbers; the response ends with EOS."""

    prompt: Sequence[int]
    response: Sequence[int]


class Batch(NamedTuple):
    """Rows of T tokens."""

    tokens: Tensor  # (B, T)
    valid_mask: Tensor  # (B, T) bool: tokens, not padding
    response_mask: Tensor  # (B, T) bool: the tokens to learn
    mask: Tensor | None = None  # (B, T, T) bool: who may look at whom; None: causal


def response_mask(prompt_lengths: Tensor, lengths: Tensor, T: int) -> Tensor:
    """Which tokens to learn, (B, T) bool: those after the prompt and before the padding.

    ``prompt_lengths`` (B,) and ``lengths`` (B,), prompt and response together, count from the left;
    padding stands on the right. The response holds its EOS, which is learned like the rest.
    """
    column = torch.arange(T, device=lengths.device)
    return (column >= prompt_lengths[:, None]) & (column < lengths[:, None])


def collate(examples: Sequence[Example], pad: int = 0, side: str = "right") -> Batch:
    """One row per example, padded on the "right" or on the "left"."""
    if side not in ("left", "right"):
        raise ValueError(f'side must be "left" or "right", got {side!r}')
    if not all(len(example.prompt) and len(example.response) for example in examples):
        raise ValueError("each example needs a prompt and a response of at least one token")
    prompt_lengths = torch.tensor([len(example.prompt) for example in examples])
    rows = [[*example.prompt, *example.response] for example in examples]
    lengths = torch.tensor([len(row) for row in rows])
    width = int(lengths.max())
    tokens = torch.tensor([row + [pad] * (width - len(row)) for row in rows])
    valid = torch.arange(width) < lengths[:, None]
    batch = Batch(tokens, valid, response_mask(prompt_lengths, lengths, width))
    if side == "right":
        return batch
    # Turn each row to the right by the number of its padding tokens.
    source = (torch.arange(width) - (width - lengths)[:, None]) % width
    return Batch(*(x.gather(1, source) for x in batch[:3]))


def pack(batch: Batch, length: int, pad: int = 0) -> Batch:
    """The same examples in fewer rows, of at most ``length`` tokens each.

    Each example goes into the first row with room, longest first; one that is longer than
    ``length`` has a row of its own. ``mask`` lets a token look at earlier tokens of its own example
    only. The first token of an example is never learned: what stands before it in the row belongs
    to another.
    """
    lengths = batch.valid_mask.sum(1).tolist()
    rows: list[list[int]] = []  # the examples in each
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        fits = (row for row in rows if sum(lengths[j] for j in row) + lengths[i] <= length)
        if (row := next(fits, None)) is None:
            rows.append(row := [])
        row.append(i)
    width = max(sum(lengths[i] for i in row) for row in rows)
    tokens = torch.full((len(rows), width), pad)
    learn = torch.zeros(len(rows), width, dtype=torch.bool)
    owner = torch.full((len(rows), width), -1)  # the example that a token belongs to; -1: padding
    for r, members in enumerate(rows):
        start = 0
        for i in members:
            end, keep = start + lengths[i], batch.valid_mask[i]
            tokens[r, start:end] = batch.tokens[i, keep]
            learn[r, start + 1 : end] = batch.response_mask[i, keep][1:]
            owner[r, start:end] = i
            start = end
    together = (owner[:, :, None] == owner[:, None, :]).tril()
    return Batch(tokens, owner >= 0, learn, together)


def sft_loss(
    logp: Tensor, response_mask: Tensor, count: int | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean negative log-likelihood (surprise) per response token, in nats, and its metrics.

    ``logp`` (B, T) of each token given all before it, ``response_mask`` (B, T). ``count`` is the
    number of response tokens in the *whole* update: with micro-batches their losses then add up to
    the loss of the batch. A mean of their means would weigh short responses more.
    """
    total = int(response_mask.sum()) if count is None else count
    loss = -(logp * response_mask).sum() / max(1, total)
    return loss, {"loss": loss.detach()}


def train(
    model: GPT, examples: Sequence[Example], config: Config, seed: int = 0
) -> Iterator[dict[str, float]]:
    """Train in place what has ``requires_grad``; one record per update.

    Each pass over ``examples`` is shuffled anew. "steps" counts updates, "examples" and "tokens"
    the examples and response tokens learned from; "loss" is the update's, in nats per response
    token.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    _check(parameters, examples)
    generator = randomness.generator(seed)
    optimizer = torch.optim.AdamW(
        parameters,
        lr=config.learning_rate,
        betas=config.betas,
        weight_decay=config.weight_decay,
        fused=True,
    )
    batches = randomness.shuffled_batches(len(examples), config.batch_size, generator)
    learned = 0
    try:
        for step in range(1, config.total_steps + 1):
            batch = collate([examples[i] for i in next(batches)])
            if config.row_length is not None:
                batch = pack(batch, config.row_length)
            count = int(batch.response_mask.sum())
            optimizer.param_groups[0]["lr"] = learning_rate(step, config)
            optimizer.zero_grad()
            loss = 0.0
            for part in micro_batches(batch, config.micro_batch):
                part_loss, _ = sft_loss(batch_logp(model, part), part.response_mask, count)
                part_loss.backward()
                loss += part_loss.item()
            norm = nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
            optimizer.step()
            learned += count
            yield {
                "steps": step,
                "examples": step * config.batch_size,
                "tokens": learned,
                "loss": loss,
                "lr": learning_rate(step, config),
                "grad_norm": norm.item(),
            }
    finally:  # also where the caller takes no further update
        # Rows of many lengths leave 0.3 GB of holes behind, and a session on Binder has 2 GB.
        allocator.give_back_memory()


def batch_logp(model: GPT, batch: Batch) -> Tensor:
    """Log-probability of each response token given all before it, (B, T); 0 elsewhere."""
    return losses.response_logp(
        model, batch.tokens, batch.valid_mask, batch.response_mask, mask=batch.mask
    )


def micro_batches(batch: Batch, rows: int) -> Iterator[Batch]:
    """``batch`` in parts of at most ``rows`` rows, without columns that are padding in all."""
    for start in range(0, len(batch.tokens), rows):
        part = [x if x is None else x[start : start + rows] for x in batch]
        used = part[1].any(0).nonzero()[:, 0]
        keep = slice(int(used[0]), int(used[-1]) + 1)
        mask = part[3] if part[3] is None else part[3][:, keep, keep]
        yield Batch(*(x[:, keep] for x in part[:3]), mask)


def learning_rate(step: int, config: Config) -> float:
    """The rate of update ``step``, from 1 on: a line up, then a line down to 0."""
    rise = config.warmup * config.total_steps
    up = step / rise if rise else 1.0
    down = (config.total_steps - step + 1) / max(1.0, config.total_steps - rise)
    return config.learning_rate * max(0.0, min(1.0, up, down))


def _check(parameters: list[nn.Parameter], examples: Sequence[Example]) -> None:
    if not examples:
        raise ValueError("train needs at least one example, got none")
    if not parameters:
        raise ValueError("nothing in this model has `requires_grad`, so nothing would learn")
    narrow = {str(p.dtype) for p in parameters if p.dtype != torch.float32 and p.itemsize < 4}
    if narrow:
        raise ValueError(
            f"the weights to train are {narrow.pop()}, where small updates are rounded away: load "
            "the model with dtype=torch.float32, or train float32 adapters with `lora.apply`"
        )

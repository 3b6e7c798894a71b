"""What a transformer remembers of the positions it has read, and who may see whom among them.

Symbols as in `gpt`: B batch, T new positions, S all positions including remembered ones, K heads
of keys and values, D channels per head.
"""

import torch
from torch import Tensor

from course_lib.lm.config import GPTConfig


class Cache:
    """Keys and values of the positions read so far, so that each token is read only once."""

    def __init__(self, config: GPTConfig, batch: int, room: int, like: Tensor):
        """Room for ``room`` positions of ``batch`` sequences, of ``like``'s dtype and device."""
        shape = (config.layers, batch, config.kv_heads, room, config.head_size)
        self.keys, self.values = like.new_zeros(shape), like.new_zeros(shape)
        self.valid_mask: Tensor | None = None  # (B, S) bool; None while there is no padding
        self.length = 0  # S

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store ``k`` and ``v`` (B, K, T, D) of new positions; return all, (B, K, S, D).

        ``length`` stays as it is until all layers have stored theirs.
        """
        start, end = self.length, self.length + k.shape[2]
        if end > self.keys.shape[3]:
            raise ValueError(
                f"the cache has room for {self.keys.shape[3]} positions, got {end}: ask for more"
            )
        self.keys[layer, :, :, start:end] = k
        self.values[layer, :, :, start:end] = v
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]


def all_valid(
    valid_mask: Tensor | None, cache: Cache | None, batch: int, new: int, device: torch.device
) -> Tensor | None:
    """The mask over remembered and new positions, (B, S) bool; None where nothing is padding."""
    before = cache.valid_mask if cache is not None else None
    if before is None and (valid_mask is None or bool(valid_mask.all())):
        return None
    past = cache.length if cache is not None else 0
    if before is None:
        before = torch.ones(batch, past, dtype=torch.bool, device=device)
    if valid_mask is None:
        valid_mask = torch.ones(batch, new, dtype=torch.bool, device=device)
    return torch.cat([before, valid_mask.bool()], dim=1)


def without_padding(allowed: Tensor, valid: Tensor) -> Tensor:
    """``allowed`` (1 or B, 1, T, S) for queries that must not see padding: (B, 1, T, S).

    ``valid`` (B, S) is False at padding. A query that itself is padding sees at least itself:
    softmax over nothing would be nan.
    """
    new, total = allowed.shape[-2:]
    itself = torch.eye(total, dtype=torch.bool, device=allowed.device)[-new:]
    return allowed & valid[:, None, None, :] | itself

"""Rotary positions (arXiv 2104.09864): queries and keys are turned by where they stand.

Symbols as in `gpt`: B batch, T new positions, S all positions, H heads, D channels per head.
"""

import functools

import torch
from torch import Tensor

from course_lib.lm.config import GPTConfig


def rotation(positions: Tensor, config: GPTConfig) -> Tensor:
    """The turn that each position gives to each pair of channels: complex, (..., T, D/2).

    Pair i turns by ``position * base ** (-2 i / D)``: the first pairs like the second hand of a
    clock, the last like the hour hand (equation 15).
    """
    pair = torch.arange(0, config.head_size, 2, device=positions.device, dtype=torch.float32)
    angle = positions[..., None].float() * config.rope_base ** (-pair / config.head_size)
    return torch.polar(torch.ones_like(angle), angle)


def rotate(x: Tensor, turn: Tensor) -> Tensor:
    """Turn each pair of neighbouring channels of ``x`` (B, T, H, D) by ``turn`` (B or 1, T, D/2).

    The product of a turned query and a turned key depends on the *difference* of their positions.
    """
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * turn[:, :, None]).flatten(-2).type_as(x)


def turns(new: int, total: int, valid: Tensor | None, config: GPTConfig, device) -> Tensor:
    """``rotation`` of the last ``new`` of ``total`` positions, (B or 1, T, D/2).

    ``valid`` (B, S) is False at padding, which takes no position; None means no padding.
    """
    if valid is None:
        rounded = 64 * -(-total // 64)  # so that one more token needs no new ones
        return _first_turns(rounded, config, device)[:, total - new : total]
    positions = (valid.cumsum(1) - 1).clamp(min=0)
    return rotation(positions[:, total - new :], config)


@functools.lru_cache(maxsize=8)
def _first_turns(length: int, config: GPTConfig, device: torch.device) -> Tensor:
    """``rotation`` of the first positions, (1, length, D/2), computed once."""
    with torch.inference_mode(False):  # a later call may need it for gradients
        return rotation(torch.arange(length, device=device)[None], config)

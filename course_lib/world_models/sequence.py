"""Games as sequences: who may look at whom, what each step predicts, how a future is drawn.

A step of a game takes ``K`` places in the sequence: the tokens of its frame, then its action.
A model that reads a frame and an action as one vector has K = 1; a token-by-token model like IRIS
(Micheli et al., arXiv 2209.00588) has one place per token. The functions here serve both. Shapes:
``B`` windows, ``T`` steps, ``K`` places a step, ``L = T * K`` places, ``V`` tokens.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def block_causal_mask(ended: Tensor, places: int) -> Tensor:
    """Who may look at whom, (B, L, L) bool: True where the query (row) may look at the key.

    ``ended`` (B, T) bool is True at steps that ended an episode; ``places`` is K. A step is a
    block: its places see each other, and all places of earlier steps *of the same episode*. The
    step after an end starts another episode, whose frames say nothing about those before.
    For models that draw a frame at once (block teacher forcing, arXiv 2502.01591). One that
    writes it token by token, as IRIS does, needs the plain causal mask within a block.
    """
    if places < 1:
        raise ValueError(f"places must be at least 1, got {places}")
    episode = ended.long().cumsum(1) - ended.long()  # the ending step still belongs to its own
    step = torch.arange(ended.shape[1], device=ended.device)
    earlier = step[:, None] >= step
    allowed = earlier & (episode[:, :, None] == episode[:, None, :])
    return allowed.repeat_interleave(places, 1).repeat_interleave(places, 2)


def event_nll(
    reward_logits: Tensor, end_logits: Tensor, rewards: Tensor, terminated: Tensor, valid: Tensor
) -> Tensor:
    """Mean negative log-likelihood of a step's reward and end, in nats: a number.

    ``reward_logits`` (B, L, R) scores rewards 0 to R - 1 and ``end_logits`` (B, L) the end, after
    each place. Only the **last** place of a step has read its action, so only it can know: the
    others are left out. ``rewards`` (B, T) int64, ``terminated`` (B, T) bool; ``valid`` (B, T)
    bool is False at steps that count nothing.
    """
    steps = rewards.shape[1]
    if reward_logits.shape[1] % steps:
        raise ValueError(
            f"{reward_logits.shape[1]} places cannot be shared out among {steps} steps"
        )
    places = reward_logits.shape[1] // steps
    of_action = slice(places - 1, None, places)
    by_class = reward_logits[:, of_action].transpose(1, 2)
    reward = F.cross_entropy(by_class, rewards, reduction="none")
    end = F.binary_cross_entropy_with_logits(
        end_logits[:, of_action], terminated.to(end_logits.dtype), reduction="none"
    )
    kept = valid.to(reward.dtype)
    return ((reward + end) * kept).sum() / kept.sum().clamp(min=1)


def sample_frame(
    chance_logits: Tensor,
    decode: Callable[[Tensor], Tensor],
    draws: Tensor,
    temperature: float = 1.0,
) -> Tensor:
    """One possible next frame for each of B states, (B, C, H, W) uint8.

    ``chance_logits`` (B, V) score the chance token, which says *which* of the possible futures
    comes; ``decode`` turns tokens (B,) into the logits of that future's cells, (B, C, H, W);
    ``draws`` (B,) are uniform numbers in [0, 1): token v comes where the cumulative probability
    first exceeds the draw. ``temperature`` divides the logits; 0 takes the likeliest token.

    All cells hang on the one token, so they fit together. A coin for each cell by itself would
    put a ball into each of two places, or into neither.
    """
    if temperature < 0:
        raise ValueError(f"temperature must not be negative, got {temperature}")
    if temperature == 0:
        tokens = chance_logits.argmax(-1)
    else:
        cumulative = (chance_logits / temperature).softmax(-1).cumsum(-1)
        tokens = (cumulative <= draws[:, None]).sum(-1)
        tokens = tokens.clamp(max=chance_logits.shape[-1] - 1)  # the last sum may be 0.9999999
    return (decode(tokens) > 0).to(torch.uint8)

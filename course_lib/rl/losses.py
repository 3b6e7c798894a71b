"""The parts that the losses of PPO, A2C, GRPO and RLHF are made of: pure functions of tensors.

Each takes tensors of one shape (...): rows of a minibatch (B,), steps (T, N), or tokens (B, T).
They know neither network nor environment.
"""

import torch
from torch import Tensor


def probability_ratio(logp: Tensor, old_logp: Tensor) -> Tensor:
    """How much more probable each action is now than when it was chosen: ``pi / pi_old``, (...)."""
    return torch.exp(logp - old_logp)


def clipped_surrogate(ratio: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """The policy's loss for each action, (...), to be minimised (arXiv 1707.06347, equation 7).

    ``ratio`` and ``advantages`` (...) of one shape. The smaller of the two objectives counts: a
    ratio that has moved beyond ``1 ± clip`` in the direction that pays gets no further reward, so
    its gradient is 0. One that moved in the wrong direction keeps its whole gradient.
    """
    return -torch.min(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def policy_loss(
    logp: Tensor, old_logp: Tensor, advantages: Tensor, clip: float, mask: Tensor | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """The mean clipped surrogate, a number, and how far the policy has moved: "kl", "clipped".

    ``clipped`` is the share of ratios beyond the clip. ``mask`` (...) is 1 where a row counts, 0
    where it does not (padding, prompts): such rows may hold anything and change nothing.
    """
    if mask is not None:  # infinity times 0 would be nan
        logp, old_logp = (x.masked_fill(mask == 0, 0.0) for x in (logp, old_logp))
    ratio = probability_ratio(logp, old_logp)
    loss = masked_mean(clipped_surrogate(ratio, advantages, clip), mask)
    with torch.no_grad():
        beyond = ((ratio - 1).abs() > clip).to(ratio.dtype)
        kl = masked_mean(approx_kl(logp, old_logp), mask)
        metrics = {"policy_loss": loss, "kl": kl, "clipped": masked_mean(beyond, mask)}
    return loss, {name: number.detach() for name, number in metrics.items()}


def value_loss(
    values: Tensor, targets: Tensor, old_values: Tensor | None = None, clip: float | None = None
) -> Tensor:
    """Half the squared error of each value, (...).

    With ``clip``, the larger of that and the error of the value kept within ``clip`` of
    ``old_values`` (as in OpenAI's baselines): a value that has moved far stops being drawn.
    """
    squared = (values - targets) ** 2
    if clip is not None:
        near = old_values + (values - old_values).clamp(-clip, clip)
        squared = torch.max(squared, (near - targets) ** 2)
    return 0.5 * squared


def approx_kl(logp: Tensor, old_logp: Tensor) -> Tensor:
    """For each action, (...), an estimate of KL(pi_old || pi) that is never negative.

    With r = pi / pi_old, (r - 1) - log r: the mean over actions drawn from pi_old is the KL
    exactly, and while the two policies are close its spread is far smaller than that of -log r
    (Schulman 2020, "k3").
    """
    log_ratio = logp - old_logp
    return torch.expm1(log_ratio) - log_ratio


def masked_mean(x: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of ``x`` (...) where ``mask`` (...) is 1; 0 where the mask keeps nothing."""
    if mask is None:
        return x.mean()
    return x.masked_fill(mask == 0, 0.0).sum() / mask.sum().clamp(min=1)


def whiten(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Shift and scale ``x`` (...) to mean 0 and standard deviation 1 over what ``mask`` keeps."""
    centred = x - masked_mean(x, mask)
    return centred / (masked_mean(centred**2, mask).sqrt() + 1e-8)

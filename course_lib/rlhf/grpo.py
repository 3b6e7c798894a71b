"""GRPO: learn from the differences within a group of responses to one prompt. No value network.

Shao et al., "DeepSeekMath", arXiv 2402.03300: for each prompt the model writes G responses, and
the advantage of a response is how much better it was rewarded than its group (section 4.1.2). The
loss of a token is PPO's clipped surrogate (``rl.losses``), equation 3. Dr. GRPO (Liu et al.,
2503.20783, section 3) leaves out two divisions: by the group's standard deviation (``scale``) and
by the length of a response (``normalise``). DAPO (Yu et al., 2503.14476, equation 8) divides by
the number of tokens in the update instead.

Of the standard deviation the paper does not say which: here, as in TRL, it is the sample's (the sum
of squares over G - 1), and 1e-4 is added to it. Left out: rewards per step of reasoning, a filter
for tied groups, separate clips upwards and downwards, a reference that is replaced now and then.
"""

import contextlib
import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_lib import limits, randomness
from course_lib.lm import lora
from course_lib.lm.generate import Sampling
from course_lib.lm.gpt import GPT
from course_lib.lm.losses import response_logp
from course_lib.rl.losses import clipped_surrogate, masked_mean, probability_ratio
from course_lib.rlhf.rollouts import Reward, Rollout, collect


@dataclass(frozen=True)
class Config:
    """Settings of one run. A step writes ``prompts`` times ``group_size`` responses."""

    total_steps: int = 30  # batches of responses, each learned from ``epochs`` times
    prompts: int = 2  # different prompts per step: 1 to 64
    group_size: int = 8  # G, responses per prompt: 4 to 64
    max_new_tokens: int = 12  # a response is cut off here
    temperature: float = 1.0  # of sampling, and of the log-probabilities learned from: 0.7 to 1.2
    epochs: int = 1  # updates per step; 1 stays on-policy: 1 to 4
    micro_batch: int = 8  # rows per forward pass; less needs less memory: 1 to 64
    scale: str = "std"  # divide advantages by the group's deviation ("std", GRPO) or not ("none")
    normalise: str = "sequence"  # "sequence" (GRPO), "constant" (Dr. GRPO) or "token" (DAPO)
    clip: float = 0.2  # how far a probability ratio may move and still be rewarded: 0.1 to 0.3
    beta: float = 0.0  # weight of the KL to the reference: 0 to 0.1
    kl: str = "k3"  # which estimate of it is differentiated: see ``kl_estimate``
    learning_rate: float = 1e-3  # AdamW's: 1e-6 (whole model) to 2e-3 (adapters)
    max_grad_norm: float = 1.0  # longer gradients are shortened to this

    def __post_init__(self) -> None:
        limits.check(
            self,
            ("group_size", lambda x: x >= 2, "be at least 2: a group of one has no difference"),
            ("scale", lambda x: x in ("std", "none"), 'be "std" or "none"'),
            ("kl", lambda x: x in ("k1", "k2", "k3"), 'be "k1", "k2" or "k3"'),
            (
                "normalise",
                lambda x: x in ("sequence", "constant", "token"),
                'be "sequence", "constant" or "token"',
            ),
            at_least_1="total_steps prompts max_new_tokens epochs micro_batch",
            above_0="temperature clip learning_rate max_grad_norm",
            not_negative="beta",
        )


# --- The parts of the loss: functions of tensors -----------------------------------------------


def group_advantages(rewards: Tensor, scale: str = "std") -> Tensor:
    """How much better each response is than its group: (P, G) for ``rewards`` (P, G).

    The mean of the group stands where PPO has a value network. With ``scale`` "std" the difference
    is divided by the group's standard deviation (sample, plus 1e-4). A tied group tells nothing
    about what is better: exactly zero.
    """
    advantages = rewards - rewards.mean(dim=1, keepdim=True)
    if scale == "std":
        advantages = advantages / (rewards.std(dim=1, keepdim=True) + 1e-4)
    tied = rewards.amax(dim=1, keepdim=True) == rewards.amin(dim=1, keepdim=True)
    return advantages.masked_fill(tied, 0.0)  # rounding of the mean, divided by 1e-4, is noise


def token_weights(
    response_mask: Tensor, normalise: str = "sequence", max_new_tokens: int = 1
) -> Tensor:
    """How much each token counts in the loss, (B, T); 0 outside ``response_mask`` (B, T).

    "sequence": each response counts 1 / B, shared by its tokens, so that a token of a long one
    counts less. "constant": every token counts 1 / (B * max_new_tokens), however long its response.
    "token": every token counts one over the number of tokens in all B responses.
    """
    mask = response_mask.float()
    if normalise == "sequence":
        share = mask.sum(dim=1, keepdim=True).clamp(min=1) * len(mask)
    elif normalise == "constant":
        share = torch.tensor(float(len(mask) * max_new_tokens))
    else:
        share = mask.sum().clamp(min=1)
    return mask / share.to(mask)


def kl_estimate(logp: Tensor, ref_logp: Tensor, kind: str = "k3") -> Tensor:
    """Estimates of KL(pi || ref) from tokens drawn from pi, (...) (Schulman 2020).

    With d = logp - ref_logp: k1 = d, k2 = d squared / 2, k3 = exp(-d) + d - 1. The means of k1 and
    k3 are the KL, that of k2 is close where the two policies are. **As losses they are not alike**
    (Tang and Munos, arXiv 2506.09477): for one token the expected gradient of k1 is zero, of k2
    that of KL(pi || ref), and of k3 that of the other direction, KL(ref || pi). In a response each
    leaves out what a token changes later; k1 in the *reward*, as in `ppo.kl_shaped_rewards`, does
    not.
    """
    difference = logp - ref_logp
    if kind == "k1":
        return difference
    if kind == "k2":
        return 0.5 * difference**2
    return torch.expm1(-difference) + difference


def grpo_loss(
    logp: Tensor,
    old_logp: Tensor,
    advantages: Tensor,
    weights: Tensor,
    ref_logp: Tensor | None = None,
    *,
    clip: float = 0.2,
    beta: float = 0.0,
    kl: str = "k3",
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of a batch, or of a part of it, a number, and its metrics.

    ``logp``, ``old_logp``, ``ref_logp`` and ``weights`` (B, T), the last from ``token_weights`` of
    the *whole* batch, so that the losses of micro-batches add up; ``advantages`` (B,).
    """
    mask = weights > 0  # what it leaves out may hold anything, and infinity times 0 would be nan
    logp, old_logp = (x.masked_fill(~mask, 0.0) for x in (logp, old_logp))
    ratio = probability_ratio(logp, old_logp)
    loss = (weights * clipped_surrogate(ratio, advantages[:, None], clip)).sum()
    metrics = {"policy_loss": loss.detach()}
    if ref_logp is not None:
        ref_logp = ref_logp.masked_fill(~mask, 0.0)
        loss = loss + beta * (weights * kl_estimate(logp, ref_logp, kl)).sum()
        metrics["ref_kl"] = (weights * kl_estimate(logp.detach(), ref_logp, "k1")).sum()
    # The tokens were drawn from the old policy: how far has the new one moved from it?
    metrics["kl"] = masked_mean(kl_estimate(old_logp, logp.detach(), "k3"), mask)
    metrics["clipped"] = masked_mean(((ratio.detach() - 1).abs() > clip).float(), mask)
    return loss, metrics


# --- Training ----------------------------------------------------------------------------------


@contextlib.contextmanager
def adapters_off(model: nn.Module) -> Iterator[None]:
    """Inside, ``model`` is what it was before its adapters learned: a reference without a copy."""
    layers = list(lora.adapters(model).values())
    if any(layer.original is not None for layer in layers):
        raise ValueError("the adapters of this model are merged: call `lora.unmerge` first")
    scales = [layer.scale for layer in layers]
    try:
        for layer in layers:
            layer.scale = 0.0
        yield
    finally:
        for layer, scale in zip(layers, scales, strict=True):
            layer.scale = scale


def train(
    model: GPT,
    prompts: Sequence[Sequence[int]],
    reward: Reward,
    stop_tokens: tuple[int, ...],
    config: Config,
    seed: int = 0,
) -> Iterator[dict[str, float]]:
    """Train in place what has ``requires_grad``; one record per step.

    ``prompts`` are token lists, drawn without repetition until all were used; ``stop_tokens`` end a
    response. The reference of the KL is the model without its adapters, or, where it has none, a
    copy made now.
    Metrics: ``steps``, ``reward`` (mean), ``length`` (tokens of a response), ``finished`` (share
    that ended by themselves), ``tied`` (share of groups without a difference), ``grad_norm``; of
    the last update ``policy_loss``, ``kl`` from the policy that wrote the responses, and
    ``clipped``, the share of tokens with a ratio beyond the clip; with ``beta`` above 0 also
    ``ref_kl``, the mean of log pi / ref per token, weighted as in the loss.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    _check(parameters, prompts)
    generator = randomness.generator(seed)
    optimizer = torch.optim.AdamW(
        parameters, lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True
    )
    reference = model
    if config.beta > 0 and not lora.adapters(model):
        reference = copy.deepcopy(model).requires_grad_(False)
    sampling = Sampling(config.max_new_tokens, config.temperature, stop_tokens=stop_tokens)
    batches = randomness.shuffled_batches(len(prompts), config.prompts, generator)
    for step in range(1, config.total_steps + 1):
        rows = [prompts[i] for i in next(batches) for _ in range(config.group_size)]
        rollout = collect(model, rows, reward, sampling, generator)
        grouped = rollout.rewards.view(config.prompts, config.group_size)
        advantages = group_advantages(grouped, config.scale).flatten()
        weights = token_weights(rollout.response_mask, config.normalise, config.max_new_tokens)
        parts = micro_batches(rollout, advantages, weights, config)
        for _ in range(config.epochs):
            metrics = accumulate_gradient(model, reference, parts, config)
            metrics["grad_norm"] = nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
        yield {
            "steps": float(step),
            "reward": float(rollout.rewards.mean()),
            "length": float(rollout.response_mask.sum(1).float().mean()),
            "finished": float(rollout.finished.float().mean()),
            "tied": float((grouped.amax(1) == grouped.amin(1)).float().mean()),
            **{name: float(value) for name, value in metrics.items()},
        }


@dataclass
class Part:
    """The responses of one forward pass, ``b`` rows."""

    tokens: Tensor  # (b, T), like the next three
    valid_mask: Tensor
    response_mask: Tensor
    weights: Tensor
    advantages: Tensor  # (b,)
    share: float  # of the batch's rows
    old_logp: Tensor | None = None  # (b, T) under the policy that wrote them; see below
    ref_logp: Tensor | None = None  # (b, T) under the reference


def micro_batches(
    rollout: Rollout, advantages: Tensor, weights: Tensor, config: Config
) -> list[Part]:
    """A batch of responses in parts, rows of one length together: less padding.

    ``advantages`` (B,), ``weights`` (B, T). Without a penalty a row of advantage 0 has no gradient
    and is left out: nothing is computed for it.
    """
    order = rollout.valid_mask.sum(1).argsort()
    order = order[((advantages != 0) | (config.beta > 0))[order]]
    columns = (rollout.tokens, rollout.valid_mask, rollout.response_mask, weights)
    parts = []
    for rows in order.split(config.micro_batch) if len(order) else ():
        used = rollout.valid_mask[rows].any(0)  # all but what is padding in each row
        share = len(rows) / len(advantages)
        parts.append(Part(*(x[rows][:, used] for x in columns), advantages[rows], share))
    return parts


def accumulate_gradient(
    model: GPT, reference: GPT, parts: Sequence[Part], config: Config
) -> dict[str, float]:
    """Add up the gradient of one pass over a batch, part by part; return its metrics.

    The first pass notes ``old_logp``: until the first update the policy is the one that wrote.
    """
    totals = {"policy_loss": 0.0, "kl": 0.0, "clipped": 0.0}
    for part in parts:
        inputs = (part.tokens, part.valid_mask, part.response_mask, config.temperature)
        logp = response_logp(model, *inputs)
        if part.old_logp is None:
            part.old_logp = logp.detach()
            if config.beta > 0:
                with torch.no_grad(), adapters_off(reference):
                    part.ref_logp = response_logp(reference, *inputs)
        terms = (logp, part.old_logp, part.advantages, part.weights, part.ref_logp)
        loss, metrics = grpo_loss(*terms, clip=config.clip, beta=config.beta, kl=config.kl)
        loss.backward()
        for name, value in metrics.items():  # a sum over all tokens, or a mean over the part's
            share = part.share if name in ("kl", "clipped") else 1.0
            totals[name] = totals.get(name, 0.0) + float(value) * share
    return totals


def _check(parameters: list[nn.Parameter], prompts: Sequence) -> None:
    if len(prompts) < 1:
        raise ValueError("train needs at least one prompt, got none")
    if not parameters:
        raise ValueError("nothing in this model has `requires_grad`, so nothing would learn")
    narrow = {str(p.dtype) for p in parameters if p.dtype != torch.float32}
    if narrow:
        raise ValueError(
            f"the weights to train are {narrow.pop()}, where small updates are rounded away: load "
            "the model with dtype=torch.float32, or train float32 adapters with `lora.apply`"
        )

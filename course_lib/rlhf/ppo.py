"""PPO for language models: the third stage of learning from human feedback.

Ziegler et al., arXiv 1909.08593, and Ouyang et al. (InstructGPT), 2203.02155. A response is an
episode. Each token is an action, and the reward model speaks once, at the end. A penalty for each
token keeps the policy near the *reference* that it started from: ``-beta * (logp - ref_logp)``,
whose sum over a response estimates the KL divergence between the two. The details are those of
Huang et al., 2403.17031; each stands at its line.

``train`` reads top to bottom: write, score, shape the rewards, estimate advantages, then several
epochs on the clipped loss. GAE and the loss are those of CartPole (`rl/returns.py`,
`rl/losses.py`).
Left out: a pretraining term in the loss (InstructGPT's "ptx"), several processes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from course_lib import limits, randomness
from course_lib.lm.generate import Sampling
from course_lib.lm.gpt import GPT
from course_lib.rl import losses, returns
from course_lib.rlhf.rollouts import Reward, Rollout, collect


@dataclass(frozen=True)
class Config:
    """Settings of one run."""

    total_steps: int = 60  # updates
    batch_size: int = 64  # responses per update: 32 to 512
    max_new_tokens: int = 40  # longer responses are cut off
    temperature: float = 1.0  # of sampling, and of every log-probability: 0.7 to 1
    beta: float = 0.05  # points of reward that a nat of KL costs: 0 (no leash) to 0.2
    kl_target: float | None = None  # nats per response that beta is adapted to; None: beta is fixed
    missing_end: float = 1.0  # points that a response without an end loses
    gamma: float = 1.0  # discount per token; 1, since an early end should not be an advantage
    lam: float = 0.95  # GAE: 0 trusts the values, 1 the rewards
    epochs: int = 4  # passes over each batch: 1 to 4
    minibatch_size: int = 32  # responses per gradient step
    clip: float = 0.2  # how far a probability ratio may move and still be rewarded
    learning_rate: float = 5e-4  # Adam's: 1e-6 (large models) to 1e-3 (tiny ones)
    value_coef: float = 0.5  # weight of the value loss: 0.1 to 1
    value_clip: float | None = 0.2  # values may move so far per batch; None: as far as they like
    whiten: bool = True  # advantages of each batch to mean 0 and standard deviation 1
    max_grad_norm: float = 1.0  # longer gradients are shortened to this

    def __post_init__(self) -> None:
        limits.check(
            self,
            at_least_1="total_steps batch_size max_new_tokens epochs minibatch_size",
            above_0="temperature clip learning_rate max_grad_norm kl_target value_clip",
            not_negative="beta missing_end value_coef",
            fraction="gamma lam",
            optional="kl_target value_clip",
        )


# --- From a score to advantages -------------------------------------------------------------------


def token_logp(logits: Tensor, tokens: Tensor, response_mask: Tensor) -> Tensor:
    """Log-probability of each response token given all before it, (B, T); 0 elsewhere.

    ``logits`` (B, T, V), ``tokens`` and ``response_mask`` (B, T). The logits at t - 1 speak of the
    token at t. `lm.losses.response_logp` gives the same numbers and computes logits only where a
    response stands: with a large vocabulary it saves most of the memory.
    """
    logp = logits[:, :-1].log_softmax(dim=-1).gather(-1, tokens[:, 1:, None])[..., 0]
    logp = torch.cat([torch.zeros_like(logp[:, :1]), logp], dim=1)
    return logp.masked_fill(~response_mask.bool(), 0.0)


def terminal_rewards(scores: Tensor, response_mask: Tensor) -> Tensor:
    """Each score (B,) at the last token of its response, the one that ends it; 0 elsewhere, (B, T).

    ``response_mask`` (B, T); a response may stop anywhere in its row.
    """
    column = torch.arange(response_mask.shape[1], device=scores.device)
    last = torch.where(response_mask.bool(), column, -1).amax(dim=1, keepdim=True)
    return torch.where(column == last, scores[:, None], 0.0)


def kl_shaped_rewards(
    rewards: Tensor, logp: Tensor, ref_logp: Tensor, response_mask: Tensor, beta: float
) -> Tensor:
    """What each token earns, (B, T): its reward less ``beta * (logp - ref_logp)``; 0 elsewhere.

    All (B, T); ``rewards`` as `terminal_rewards` places them. Constants to the policy: no gradient
    passes. Equation 2 of arXiv 1909.08593, spread over the tokens.
    """
    shaped = rewards - beta * (logp - ref_logp).detach()
    return shaped.masked_fill(~response_mask.bool(), 0.0)


def token_advantages(
    rewards: Tensor, values: Tensor, response_mask: Tensor, gamma: float, lam: float
) -> Tensor:
    """GAE along each response, (B, T); 0 elsewhere.

    ``rewards`` (B, T), ``values`` (B, T) of the text *before* each token. The last token of a
    response terminates its episode, also where the length limit cut it: nothing follows.
    """
    keep = response_mask.bool()
    values = values.masked_fill(~keep, 0.0)
    next_values = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    last = keep & ~torch.cat([keep[:, 1:], torch.zeros_like(keep[:, :1])], dim=1)
    columns = (rewards, values, next_values, last | ~keep, torch.zeros_like(keep))
    return returns.gae(*(x.T for x in columns), gamma, lam).T.masked_fill(~keep, 0.0)


def whiten_advantages(advantages: Tensor, response_mask: Tensor) -> Tensor:
    """Shift and scale to mean 0 and standard deviation 1 over the responses, (B, T); 0 elsewhere.

    ``advantages`` and ``response_mask`` (B, T). Prompts and padding hold zeros that nobody chose:
    counted in, they would pull both mean and spread towards 0.
    """
    return losses.whiten(advantages, response_mask).masked_fill(~response_mask.bool(), 0.0)


def adapted_beta(beta: float, kl: float, target: float, rate: float = 0.5) -> float:
    """The next price of a nat: higher where ``kl`` was above ``target``, lower where below.

    In proportion to how far it was off, up to a fifth (arXiv 1909.08593, section 2.2, whose
    ``rate`` is 0.1; a run of some tens of updates needs a quicker one).
    """
    return beta * (1 + rate * min(max(kl / target - 1, -0.2), 0.2))


class Critic(nn.Module):
    """How much reward is still to come: a copy of a GPT's body with a head of one number."""

    def __init__(self, model: GPT):
        super().__init__()
        self.body = GPT(model.config)
        self.body.load_state_dict(model.state_dict())
        self.head = nn.Linear(model.config.width, 1)
        nn.init.zeros_(self.head.weight)  # no opinion before it has seen a reward
        nn.init.zeros_(self.head.bias)

    def forward(self, tokens: Tensor, valid_mask: Tensor | None = None) -> Tensor:
        """The value of the text *before* each of ``tokens`` (B, T): (B, T); 0 at the first."""
        after = self.head(self.body.hidden(tokens, valid_mask))[..., 0]
        return torch.cat([torch.zeros_like(after[:, :1]), after[:, :-1]], dim=1)


# --- Training -------------------------------------------------------------------------------------


class Batch(NamedTuple):
    """Responses as PPO learns from them; all (B, T)."""

    tokens: Tensor
    valid_mask: Tensor
    response_mask: Tensor
    logp: Tensor  # when the tokens were drawn
    values: Tensor  # at that time
    advantages: Tensor
    targets: Tensor  # what the values should have been


def ppo_loss(
    logp: Tensor, values: Tensor, batch: Batch, config: Config
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of policy and critic, a mean over the response tokens, and metrics.

    ``logp`` and ``values`` (B, T) are those of the present policy and critic.
    """
    mask = batch.response_mask
    loss, metrics = losses.policy_loss(logp, batch.logp, batch.advantages, config.clip, mask)
    squared = losses.value_loss(values, batch.targets, batch.values, config.value_clip)
    value_loss = losses.masked_mean(squared, mask)
    # "kl" is that to the reference; this one is how far the update moved the policy.
    metrics |= {"value_loss": value_loss.detach(), "update_kl": metrics.pop("kl")}
    return loss + config.value_coef * value_loss, metrics


def train(
    policy: GPT,
    critic: Critic,
    reference: GPT,
    prompts: Sequence[Sequence[int]],
    reward: Reward,
    end: int,
    config: Config,
    seed: int = 0,
) -> Iterator[dict[str, float]]:
    """Train ``policy`` and ``critic`` in place; one record per update.

    ``reference`` stays as it is. ``prompts`` are drawn anew for each update; ``end`` is the token
    that ends a response.

    Metrics: "steps" counts updates, "responses" all responses so far; "reward" is the mean score,
    "kl" the nats by which a response is more probable than under the reference (the mean over
    responses estimates KL(policy || reference)); "beta"; "length" in tokens; "finished", the share
    with an end; then those of `ppo_loss`: "clipped" is the share of ratios beyond the clip,
    "update_kl" the policy's change within the update.
    """
    generator = randomness.generator(seed)
    parameters = [p for p in (*policy.parameters(), *critic.parameters()) if p.requires_grad]
    # eps 1e-5 instead of 1e-8 keeps steps small where gradients have all but vanished.
    optimizer = torch.optim.Adam(parameters, config.learning_rate, eps=1e-5, fused=True)
    sampling = Sampling(config.max_new_tokens, config.temperature, stop_tokens=(end,))
    beta = config.beta
    for step in range(1, config.total_steps + 1):
        rate = config.learning_rate * (1 - (step - 1) / config.total_steps)
        optimizer.param_groups[0]["lr"] = rate
        chosen = torch.randint(len(prompts), (config.batch_size,), generator=generator).tolist()
        rollout = collect(policy, [prompts[i] for i in chosen], reward, sampling, generator)
        tokens, valid_mask, mask, logp = rollout[:4]
        with torch.no_grad():
            ref_logp = token_logp(reference(tokens, valid_mask) / config.temperature, tokens, mask)
            values = critic(tokens, valid_mask)
        batch = with_advantages(rollout, ref_logp, values, config, beta)
        rows = [
            row
            for _ in range(config.epochs)
            for row in _epoch(policy, critic, optimizer, batch, config, generator)
        ]
        kl = float((logp - ref_logp).sum(dim=1).mean())
        yield {
            "steps": step,
            "responses": step * config.batch_size,
            "reward": float(rollout.rewards.mean()),
            "length": float(mask.sum(dim=1).float().mean()),
            "finished": float(rollout.finished.float().mean()),
            "kl": kl,
            "beta": beta,
            **{name: float(torch.stack([row[name] for row in rows]).mean()) for name in rows[0]},
        }
        if config.kl_target is not None:
            beta = adapted_beta(beta, kl, config.kl_target)


def with_advantages(
    rollout: Rollout, ref_logp: Tensor, values: Tensor, config: Config, beta: float
) -> Batch:
    """A rollout with what PPO learns from: the score at the end, the price of KL, GAE over both.

    ``ref_logp`` and ``values`` (B, T) are the reference's and the critic's of its tokens.
    """
    tokens, valid_mask, mask, logp = rollout[:4]
    scores = rollout.rewards - config.missing_end * ~rollout.finished
    rewards = terminal_rewards(scores, mask)
    rewards = kl_shaped_rewards(rewards, logp, ref_logp, mask, beta)
    advantages = token_advantages(rewards, values, mask, config.gamma, config.lam)
    targets = advantages + values
    if config.whiten:
        advantages = whiten_advantages(advantages, mask)
    return Batch(tokens, valid_mask, mask, logp, values, advantages, targets)


def _epoch(
    policy: GPT,
    critic: Critic,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    config: Config,
    generator: torch.Generator,
) -> Iterator[dict[str, Tensor]]:
    """One pass over the batch in an order drawn anew, a gradient step per minibatch."""
    order = torch.randperm(len(batch.tokens), generator=generator)
    for index in order.split(config.minibatch_size):
        rows = Batch(*(column[index] for column in batch))
        logits = policy(rows.tokens, rows.valid_mask) / config.temperature
        logp = token_logp(logits, rows.tokens, rows.response_mask)
        values = critic(rows.tokens, rows.valid_mask)
        loss, metrics = ppo_loss(logp, values, rows, config)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(policy.parameters(), config.max_grad_norm)
        nn.utils.clip_grad_norm_(critic.parameters(), config.max_grad_norm)
        optimizer.step()
        yield metrics

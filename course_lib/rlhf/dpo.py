"""DPO: learn from preferences without a reward model and without sampling.

Rafailov et al., "Direct Preference Optimization", arXiv 2305.18290. The policy that maximises a
reward under a KL leash is known in closed form (equation 4). Solved for the reward, it reads
r(x, y) = beta * log(pi(y|x) / ref(y|x)) plus something that depends on the prompt alone (equation
5), and in a comparison of two responses to one prompt that something cancels. So the policy *is* a
reward model, and is trained as one, by Bradley and Terry's loss (equation 7).

IPO (Azar et al., 2310.12036, equation 17) wants log-ratios that differ by 1 / (2 beta) instead of
a margin that grows for ever. Its log-probabilities are here means per token, as in TRL, whose
authors asked IPO's; the equation itself has sums. Left out: label smoothing, other divergences, a
term that keeps the chosen response probable.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib import limits, randomness
from course_lib.lm import finetune
from course_lib.lm.gpt import GPT
from course_lib.rlhf.reward_model import Comparison


@dataclass(frozen=True)
class Config:
    """Settings of one run."""

    total_steps: int = 100  # updates, over which the learning rate rises and falls
    batch_size: int = 16  # pairs per update: 8 to 64
    micro_batch: int = 16  # pairs per forward pass; less needs less memory: 1 to 64
    beta: float = 0.1  # how strongly the policy is tied to its reference: 0.01 to 0.5
    kind: str = "dpo"  # or "ipo"
    learning_rate: float = 1e-3  # AdamW's, at its highest: 5e-7 (large models) to 1e-3 (tiny)
    warmup: float = 0.1  # share of the updates in which the rate rises from 0: 0 to 0.1
    betas: tuple[float, float] = (0.9, 0.98)  # AdamW's memories
    max_grad_norm: float = 1.0  # longer gradients are shortened to this

    def __post_init__(self) -> None:
        limits.check(
            self,
            ("kind", lambda x: x in ("dpo", "ipo"), 'be "dpo" or "ipo"'),
            at_least_1="total_steps batch_size micro_batch",
            above_0="beta learning_rate max_grad_norm",
            fraction="warmup",
        )


def pair_loss(
    logp_chosen: Tensor,
    logp_rejected: Tensor,
    ref_logp_chosen: Tensor,
    ref_logp_rejected: Tensor,
    beta: float,
) -> Tensor:
    """DPO's loss of each pair, (B,), from *summed* log-probabilities of responses, (B,) each.

    -log sigmoid(margin), where margin = beta * (how much more probable the chosen response has
    become, minus the same for the rejected one): equation 7 of arXiv 2305.18290.
    """
    difference = (logp_chosen - ref_logp_chosen) - (logp_rejected - ref_logp_rejected)
    return -F.logsigmoid(beta * difference)


def dpo_loss(
    logp_chosen: Tensor,
    logp_rejected: Tensor,
    ref_logp_chosen: Tensor,
    ref_logp_rejected: Tensor,
    beta: float = 0.1,
    kind: str = "dpo",
    lengths: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean loss over pairs, a number, and its metrics; all tensors (B,), one entry per pair.

    ``lengths``, the tokens of the chosen and of the rejected responses, make IPO's
    log-probabilities means per token; without them they are sums. DPO's are always sums.
    Metrics: ``margin`` (beta times the difference of log-ratios), ``accuracy`` (share of pairs
    with a positive margin) and the log-probabilities of both sides, which may well *both* fall.
    """
    chosen, rejected = logp_chosen - ref_logp_chosen, logp_rejected - ref_logp_rejected
    if kind == "ipo":
        n_chosen, n_rejected = lengths or (1, 1)
        per_pair = (chosen / n_chosen - rejected / n_rejected - 1 / (2 * beta)) ** 2
    else:
        per_pair = pair_loss(logp_chosen, logp_rejected, ref_logp_chosen, ref_logp_rejected, beta)
    loss = per_pair.mean()
    return loss, {
        "loss": loss.detach(),
        "margin": beta * (chosen - rejected).mean().detach(),
        "accuracy": (chosen > rejected).float().mean(),
        "logp_chosen": logp_chosen.mean().detach(),
        "logp_rejected": logp_rejected.mean().detach(),
    }


@torch.no_grad()
def reference_logp(model: GPT, pairs: Sequence[Comparison], micro_batch: int = 32) -> Tensor:
    """Summed log-probabilities of every pair's two responses, chosen and rejected: (2, pairs).

    They never change, so once, before training, is enough: no second model stays in memory.
    """
    starts = range(0, len(pairs), micro_batch)
    parts = [summed_logp(model, pairs[start : start + micro_batch])[0] for start in starts]
    return torch.cat(parts, dim=1)


def summed_logp(model: GPT, pairs: Sequence[Comparison]) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the chosen and the rejected responses (``a`` and ``b``), and lengths.

    (2, B) each, in one forward pass. A response's log-probability is the sum over its tokens.
    """
    examples = [finetune.Example(pair.prompt, pair.a) for pair in pairs]
    examples += [finetune.Example(pair.prompt, pair.b) for pair in pairs]
    batch = finetune.collate(examples)
    logp = finetune.batch_logp(model, batch).sum(dim=1)
    return logp.view(2, -1), batch.response_mask.sum(dim=1).view(2, -1)


def train(
    model: GPT, pairs: Sequence[Comparison], config: Config, seed: int = 0
) -> Iterator[dict[str, float]]:
    """Train in place what has ``requires_grad``, from a model that can already answer (SFT).

    One record per update: ``steps``, the metrics of ``dpo_loss``, ``lr`` and ``grad_norm``. The
    model as it is now is the reference. Ties teach nothing here and are left out.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    pairs = [_chosen_first(pair) for pair in pairs if pair.share != 0.5]
    if not pairs:
        raise ValueError("train needs at least one pair that is not a tie, got none")
    if not parameters:
        raise ValueError("nothing in this model has `requires_grad`, so nothing would learn")
    generator = randomness.generator(seed)
    optimizer = torch.optim.AdamW(
        parameters, config.learning_rate, config.betas, weight_decay=0.0, fused=True
    )
    ref_logp = reference_logp(model, pairs, config.micro_batch)
    batches = randomness.shuffled_batches(len(pairs), config.batch_size, generator)
    for step in range(1, config.total_steps + 1):
        chosen = next(batches)
        rate = finetune.learning_rate(step, config)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        totals: dict[str, float] = {}
        for start in range(0, len(chosen), config.micro_batch):
            part = chosen[start : start + config.micro_batch]
            logp, lengths = summed_logp(model, [pairs[i] for i in part])
            loss, metrics = dpo_loss(
                *logp, *ref_logp[:, part], config.beta, config.kind, tuple(lengths)
            )
            share = len(part) / len(chosen)
            (loss * share).backward()
            for name, value in metrics.items():
                totals[name] = totals.get(name, 0.0) + share * float(value)
        norm = nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
        optimizer.step()
        yield {"steps": float(step), **totals, "lr": rate, "grad_norm": float(norm)}


def _chosen_first(pair: Comparison) -> Comparison:
    prompt, a, b, share = pair
    return Comparison(prompt, a, b) if share > 0.5 else Comparison(prompt, b, a)

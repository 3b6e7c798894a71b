"""Losses against Hugging Face TRL on the same tensors: DPO, IPO, GRPO, Dr. GRPO, DAPO, rewards.

TRL's own `_compute_loss` and `compute_loss` run on tensors of ours: in place of a model stands an
object that returns given log-probabilities or rewards. Losses and gradients are compared.
"""

from __future__ import annotations

import importlib.metadata
from collections import defaultdict
from types import SimpleNamespace
from unittest.mock import MagicMock

import torch
from torch import Tensor

from benchmarks.harness import Goal, by
from course_lib.rlhf import dpo, grpo
from course_lib.rlhf.pairwise import pairwise_loss

ROWS, GROUP, COLUMNS, LONGEST = 8, 4, 10, 12


def drawn(seed: int) -> dict[str, Tensor]:
    """Log-probabilities under three policies (B, T), a ragged mask, rewards (B,)."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    logp = -2 + draw(ROWS, COLUMNS)
    lengths = torch.randint(1, COLUMNS + 1, (ROWS, 1), generator=generator)
    rewards = draw(ROWS).round(decimals=1)
    rewards[:GROUP] = 0.1  # a tied group
    return {
        "logp": logp,
        "old": logp + 0.3 * draw(ROWS, COLUMNS),
        "ref": logp + 0.5 * draw(ROWS, COLUMNS),
        "mask": torch.arange(COLUMNS) < lengths,
        "rewards": rewards,
    }


def with_gradient(loss_of, x: Tensor) -> tuple[float, Tensor]:
    """A loss, and its gradient with respect to ``x``."""
    x = x.detach().clone().requires_grad_()
    loss = loss_of(x)
    return loss.item(), torch.autograd.grad(loss, x)[0]


def trainer(**fields) -> SimpleNamespace:
    """What TRL's loss functions ask of a trainer, and nothing else."""
    accelerator = MagicMock()
    accelerator.device = torch.device("cpu")
    same = lambda x, **_: x  # noqa: E731
    accelerator.gather, accelerator.gather_for_metrics, accelerator.reduce = same, same, same
    accelerator.num_processes = 1
    return SimpleNamespace(
        accelerator=accelerator,
        model=SimpleNamespace(training=True),
        _metrics={"train": defaultdict(list)},
        aux_loss_enabled=False,
        _total_train_tokens=0,
        _tp_size=1,
        **fields,
    )


def trl_dpo(kind: str, data: dict[str, Tensor], beta: float):
    """TRL's loss as a function of the tokens' log-probabilities; the first half is chosen."""
    from trl import DPOTrainer

    mask = torch.cat([torch.zeros(ROWS, 1).bool(), data["mask"]], dim=1).long()
    ref = (data["ref"] * data["mask"]).sum(dim=1)
    this = trainer(
        ld_alpha=None,
        precompute_ref_logps=True,
        f_divergence_type="reverse_kl",
        loss_types=[kind],
        loss_weights=[1.0],
        beta=beta,
        label_smoothing=0.0,
        use_weighting=False,
    )
    inputs = {
        "input_ids": torch.zeros_like(mask),
        "attention_mask": torch.ones_like(mask),
        "completion_mask": mask,
        "ref_chosen_logps": ref[: ROWS // 2],
        "ref_rejected_logps": ref[ROWS // 2 :],
    }

    def loss_of(logp: Tensor) -> Tensor:
        nothing = torch.zeros_like(logp)
        outputs = SimpleNamespace(
            log_probs=logp * data["mask"],
            entropy=nothing,
            mean_logits=nothing,
            is_top1=nothing.bool(),
        )
        return DPOTrainer._compute_loss(this, lambda **_: outputs, inputs, False)

    return loss_of


def our_dpo(kind: str, data: dict[str, Tensor], beta: float):
    def loss_of(logp: Tensor) -> Tensor:
        sides = [(x * data["mask"]).sum(dim=1).chunk(2) for x in (logp, data["ref"])]
        lengths = data["mask"].sum(dim=1).chunk(2)
        return dpo.dpo_loss(*sides[0], *sides[1], beta, kind, lengths)[0]

    return loss_of


def trl_advantages(rewards: Tensor, scale: str) -> Tensor:
    """As `GRPOTrainer._generate_and_score_completions` computes them, by TRL's own `nanstd`."""
    from trl.trainer.utils import nanstd

    grouped = rewards.view(-1, GROUP)
    advantages = grouped - torch.nanmean(grouped, dim=1, keepdim=True)
    if scale == "std":
        advantages = advantages / (nanstd(grouped, dim=1, keepdim=True) + 1e-4)
    return advantages.flatten()


def trl_grpo(kind: str, data: dict[str, Tensor], advantages: Tensor, beta: float):
    from trl import GRPOTrainer

    mask = data["mask"].long()

    def loss_of(logp: Tensor) -> Tensor:
        this = trainer(
            loss_type=kind,
            beta=beta,
            epsilon_low=0.2,
            epsilon_high=0.2,
            top_entropy_quantile=1.0,
            off_policy_mask_threshold=None,
            importance_sampling_level="token",
            use_vllm=False,
            max_completion_length=LONGEST,
            current_gradient_accumulation_steps=1,
            _entropy_bonus_enabled=False,
            args=SimpleNamespace(delta=None, use_bias_correction_kl=False, steps_per_generation=1),
        )
        this._get_per_token_logps_and_entropies = lambda *_, **__: (logp, 0 * logp, None)
        inputs = {
            "prompt_ids": mask[:, :2],
            "prompt_mask": mask[:, :2],
            "completion_ids": mask,
            "completion_mask": mask,
            "advantages": advantages,
            "old_per_token_logps": data["old"],
            "ref_per_token_logps": data["ref"],
            "num_items_in_batch": mask.sum(),
        }
        return GRPOTrainer._compute_loss(this, None, inputs)

    return loss_of


def our_grpo(normalise: str, data: dict[str, Tensor], advantages: Tensor, beta: float):
    weights = grpo.token_weights(data["mask"], normalise, LONGEST)

    def loss_of(logp: Tensor) -> Tensor:
        terms = (logp, data["old"], advantages, weights, data["ref"])
        return grpo.grpo_loss(*terms, clip=0.2, beta=beta)[0]

    return loss_of


def trl_reward(rewards: Tensor) -> Tensor:
    """RewardTrainer's loss; the first half is chosen."""
    from trl import RewardTrainer

    this = trainer(args=SimpleNamespace(center_rewards_coefficient=None))
    outputs = SimpleNamespace(logits=rewards[:, None])
    return RewardTrainer.compute_loss(this, lambda **_: outputs, {"attention_mask": torch.ones(1)})


GRPO = {  # TRL's name: scale of the advantages, our normalisation
    "grpo": ("std", "sequence"),
    "dr_grpo": ("none", "constant"),
    "dapo": ("std", "token"),
}


def compare(seed: int) -> list[dict]:
    data = drawn(seed)
    pairs = {}
    for trls, ours in (("sigmoid", "dpo"), ("ipo", "ipo")):
        pairs[ours] = (our_dpo(ours, data, 0.1), trl_dpo(trls, data, 0.1), data["logp"])
    apart = {}
    for name, (scale, normalise) in GRPO.items():
        mine = grpo.group_advantages(data["rewards"].view(-1, GROUP), scale).flatten()
        theirs = trl_advantages(data["rewards"], scale)
        apart[name] = (mine - theirs).abs().max().item()
        functions = our_grpo(normalise, data, mine, 0.04), trl_grpo(name, data, theirs, 0.04)
        pairs[name] = (*functions, data["logp"])
    ours = lambda rewards: pairwise_loss(*rewards.chunk(2))[0]  # noqa: E731
    pairs["reward"] = (ours, trl_reward, data["logp"][:, 0])
    runs = []
    for name, (ours, theirs, x) in pairs.items():
        (a, grad_a), (b, grad_b) = with_gradient(ours, x), with_gradient(theirs, x)
        run = {"loss": name, "seed": seed, "ours": a, "trl": b, "loss_apart": abs(a - b)}
        run["gradients_apart"] = (grad_a - grad_b).abs().max().item()
        runs.append(run | {"advantages_apart": apart.get(name, 0.0)})
    return runs


def measure(quick: bool) -> dict:
    seeds = [200] if quick else list(range(200, 210))
    version = importlib.metadata.version("trl")
    return {"seeds": seeds, "trl": version, "runs": [run for s in seeds for run in compare(s)]}


def judge(result: dict) -> list[Goal]:
    titles = {"dpo": "DPO", "ipo": "IPO", "grpo": "GRPO", "dr_grpo": "Dr. GRPO"}
    titles |= {"dapo": "DAPO", "reward": "reward model"}
    goals = []
    for name, runs in by(result["runs"], "loss").items():
        parts = ("loss_apart", "gradients_apart", "advantages_apart")
        worst = [max(run[part] for run in runs) for part in parts]
        more = f", advantages {worst[2]:.0e}" if name in GRPO else ""
        goals.append(
            Goal(
                f"{titles[name]}: loss and gradients against TRL {result['trl']} on the same "
                f"tensors, {len(runs)} draws, largest difference",
                "at most 1e-5",
                f"loss {worst[0]:.0e}, gradients {worst[1]:.0e}{more}",
                max(worst) <= 1e-5,
            )
        )
    return goals

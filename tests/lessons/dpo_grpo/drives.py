"""A small run of lesson 09 for each exercise, and a mistake that changes it."""

import torch

from course_lib.lm.gpt import GPT, GPTConfig
from course_lib.rlhf import dpo, grpo
from course_lib.rlhf.reward_model import Comparison

END = 1


def _model() -> GPT:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return GPT(GPTConfig(vocab_size=12, layers=1, width=16, heads=2))


def preferences() -> list[dict]:
    """DPO where sevens are preferred to eights."""
    pairs = [Comparison([2 + i, 6], [7] * (1 + i) + [END], [8, 8, END]) for i in range(3)]
    config = dpo.Config(total_steps=4, batch_size=3, beta=0.5, learning_rate=1e-2)
    return list(dpo.train(_model(), pairs, config))


def rewarded() -> list[dict]:
    """GRPO under a KL penalty, rewarded for sevens."""

    def sevens(prompts, responses):
        return torch.tensor([float(7 in response) for response in responses])

    config = grpo.Config(
        total_steps=4, group_size=6, max_new_tokens=5, epochs=2, beta=0.1, learning_rate=1e-2
    )
    return list(grpo.train(_model(), [[2, 3], [4], [5, 6]], sevens, (END,), config))


RUNS = {
    "pair_loss": (preferences, "the reference drifts"),
    "group_advantages": (rewarded, "never divides"),
    "token_weights": (rewarded, "forgets the end"),
    "kl_estimate": (rewarded, "k3 with the ratio turned"),
}

CALLED = {"learn_from_groups"}

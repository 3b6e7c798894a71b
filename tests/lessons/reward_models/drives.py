"""Each exercise of lesson 07 in a run of the reward model, as the notebook makes it."""

from functools import cache

import torch

from course_lib.lm.gpt import GPT, GPTConfig
from course_lib.rlhf import reward_model
from course_lib.rlhf.reward_model import Comparison, Config, RewardModel


@cache
def _body() -> GPT:
    torch.manual_seed(0)
    return GPT(GPTConfig(vocab_size=12, layers=1, width=16, heads=2))


def _train(flip: float) -> list[dict]:
    """Replies of different length, so that some are padded; a tie among the labels."""
    examples = [
        Comparison([2, 3], [5, 6, 7, 1], [8, 1], 1.0),
        Comparison([2, 4], [9, 1], [5, 10, 1], 0.0),
        Comparison([2], [6, 6, 6, 6, 1], [7, 1], 0.5),
        Comparison([2, 3], [8, 9, 1], [10, 11, 5, 1], 0.0),
    ]
    config = Config(total_steps=4, batch_size=4, learning_rate=3e-3, flip=flip)
    return list(reward_model.train(RewardModel.from_lm(_body()), examples, config, seed=0))


def run() -> list[dict]:
    """Labels by somebody who is never careless."""
    return _train(flip=0.0)


def careless() -> list[dict]:
    """A fifth of the labels is known to be turned round."""
    return _train(flip=0.2)


RUNS = {
    "pairwise_nll": (run, "turns the pair round"),
    "last_token": (run, "reads the last column"),
    "accuracy": (run, "ignores the share"),
    "noisy_nll": (careless, "smooths the labels"),
}

CALLED = {"fit_reward_model"}

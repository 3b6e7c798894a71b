"""Watch a reward model being over-optimised: the proxy beside the true reward, update by update.

"When a measure becomes a target, it ceases to be a good measure": Goodhart's law in the words of
Strathern (1997). Gao, Schulman and Hilton, "Scaling Laws for Reward Model Overoptimization" (arXiv
2210.10760), measured it for language models, with a large reward model in place of the truth. On
the concierge (`concierge.py`) the truth is known.

``judge`` trains a reward model on few or many labels, large or small; ``train`` is `ppo.train`
against any reward, and has each batch looked at by others that the policy never learns from.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from course_lib.lm.gpt import GPT
from course_lib.rlhf import ppo, reward_model
from course_lib.rlhf.preferences import Pair
from course_lib.rlhf.reward_model import RewardModel
from course_lib.rlhf.rollouts import Reward
from course_lib.worlds import concierge, concierge_pipeline as pipeline

PPO = ppo.Config(total_steps=30, batch_size=48, beta=0.0, epochs=3, minibatch_size=48)


def judge(
    model: GPT,
    pairs: Sequence[Pair],
    labels: Sequence[float],
    seed: int,
    *,
    steps: int,
    width: int | None = None,
) -> RewardModel:
    """A reward model that began as ``model``, or, with a ``width``, as a small one without words.

    Its zero is the mean over demonstrations.
    """
    if width is None:
        found = RewardModel.from_lm(model, seed)
    else:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            found = RewardModel(replace(model.config, width=width)).reset_head(seed)
    config = reward_model.Config(total_steps=steps, learning_rate=1e-3 if width is None else 3e-3)
    for _ in reward_model.train(found, pipeline.compare(pairs, labels), config, seed):
        pass
    pipeline.center_on_demonstrations(found, seed)
    return found.requires_grad_(False)


class Watched:
    """A `Reward` that shows each batch to ``others``, too. They change nothing."""

    def __init__(self, reward: Reward, others: Mapping[str, Reward]):
        self.reward, self.others = reward, others
        self.means: dict[str, float] = {}  # over the last batch, of each of the others
        self.example = ("", "")  # its first question with the reply

    def __call__(
        self, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]
    ) -> Tensor:
        self.means = {n: float(look(prompts, responses).mean()) for n, look in self.others.items()}
        self.example = concierge.question_of(prompts[0]), concierge.reply_of(responses[0])
        return self.reward(prompts, responses)


def train(
    policy: GPT,
    reward: Reward,
    others: Mapping[str, Reward],
    config: ppo.Config = PPO,
    seed: int = 0,
    replies: list[tuple[str, str]] | None = None,
) -> Iterator[dict[str, float]]:
    """`ppo.train` in place, from ``policy`` as it is; its records, and a mean for each of others.

    All of one record are about the same responses, those *before* the update. The first question
    of each batch is appended to ``replies`` with its reply.
    """
    reference = copy.deepcopy(policy).requires_grad_(False)
    watched = Watched(reward, others)
    prompts = pipeline.training_prompts()
    end = concierge.END_TOKEN
    for row in ppo.train(
        policy, ppo.Critic(reference), reference, prompts, watched, end, config, seed
    ):
        if replies is not None:
            replies.append(watched.example)
        yield row | watched.means

"""Each exercise of lesson 08 in a run of PPO on a language model, as the notebook makes it."""

import copy

import torch

from course_lib.lm.gpt import GPT, GPTConfig
from course_lib.rlhf import ppo

END, LIKED = 0, 1


def _reward(prompts, responses):
    return torch.tensor([float(response.count(LIKED)) for response in responses])


def run() -> list[dict]:
    """Responses end early or late, so that the rows hold padding."""
    torch.manual_seed(0)
    reference = GPT(GPTConfig(vocab_size=6, context=16, layers=1, width=16, heads=2))
    policy, critic = copy.deepcopy(reference), ppo.Critic(reference)
    with torch.no_grad():  # away from the reference, so that leaving it has a price
        policy.embedding.weight.mul_(5)
    config = ppo.Config(
        total_steps=2, batch_size=16, max_new_tokens=6, minibatch_size=8, beta=0.1, epochs=2
    )
    prompts = [[3, 4], [5]]
    return list(ppo.train(policy, critic, reference, prompts, _reward, END, config, seed=0))


RUNS = {
    "token_logp": (run, "no shift"),
    "terminal_rewards": (run, "in the last column"),
    "kl_shaped_rewards": (run, "pays for leaving"),
    "whiten_advantages": (run, "padding counts"),
}

CALLED = {"collect_rollout"}

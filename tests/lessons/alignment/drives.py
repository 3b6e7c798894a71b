"""A small run of lesson 10 for each exercise, and a mistake that changes it."""

import torch

from course_lib.lm.gpt import GPT, GPTConfig
from course_lib.rlhf import best_of_n, constraints, grpo

END = 1


def best() -> list[dict]:
    """The curve of best-of-n for drawn rewards."""
    proxy, true = torch.randn(2, 3, 16, generator=torch.Generator().manual_seed(0))
    return best_of_n.curve(proxy, proxy + true, (1, 2, 4, 16))


def constrained() -> list[dict]:
    """GRPO with a price on the length of a response; what it was rewarded with, and the price."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GPT(GPTConfig(vocab_size=12, layers=1, width=16, heads=2))
    reward = constraints.Constrained(
        lambda prompts, responses: torch.tensor([float(r.count(7)) for r in responses]),
        lambda prompts, responses: torch.tensor([float(len(r)) for r in responses]),
        constraints.Config(limit=2.0),
    )
    config = grpo.Config(total_steps=4, max_new_tokens=5, learning_rate=1e-2)
    rows = list(grpo.train(model, [[2, 3], [4]], reward, (END,), config))
    return [row | record for row, record in zip(rows, reward.records, strict=True)]


RUNS = {
    "best_of_n_kl": (best, "only the logarithm"),
    "best_value": (best, "reports the proxy"),
    "dual_update": (constrained, "the sign turned round"),
}
CALLED = {"stop_at"}  # a rule for a whole curve, which the notebook applies to the committed runs

"""The three stages of learning from human feedback, on the concierge, with the recipe of lesson 08.

The settings of each stage stand here, and ``sft_model`` reads a model that stage 1 made.
``supervised`` pretrains and fine-tunes, ``labelled`` has pairs of replies compared by a simulated
guest, ``learned_reward`` trains a reward model on them. `ppo.train` is the last stage, with the
settings ``PPO``. ``evaluate`` then asks questions that no stage has seen and keeps every number,
the *true* reward among them, which nobody has outside a world that was made up.

Each stage draws from its own stream of ``seed``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from course_lib import randomness
from course_lib.lm import finetune, gpt, losses, pretrain
from course_lib.lm.generate import Sampling
from course_lib.lm.gpt import GPT, GPTConfig
from course_lib.rlhf import ppo, reward_model
from course_lib.rlhf.preferences import Labeller, Pair, make_pairs
from course_lib.rlhf.reward_model import Comparison, RewardModel
from course_lib.rlhf.rollouts import Reward, collect
from course_lib.worlds import concierge

MODEL = GPTConfig(
    vocab_size=concierge.TOKENIZER.vocab_size, context=64, layers=2, width=96, heads=4
)
PRETRAIN = pretrain.Config(total_steps=800, batch_size=16, context=64, learning_rate=3e-3)
SFT = finetune.Config(total_steps=100, batch_size=32, row_length=64, micro_batch=32)
DIALOGUES = 6_000  # of all kinds of staff, to pretrain on
DEMONSTRATIONS = 1_500  # of a good one, to fine-tune on
PAIRS = 6_000  # that a guest compares
REPLIES = 64  # to each question, of which the pairs are made
GUEST = Labeller(concierge.true_reward)  # noisy: chooses the worse reply in one pair of six
REWARD_MODEL = reward_model.Config(total_steps=200, batch_size=64, learning_rate=2e-3)
PPO = ppo.Config(total_steps=40, beta=0.1)
SAMPLING = Sampling(PPO.max_new_tokens, stop_tokens=(concierge.END_TOKEN,))


def new_model(seed: int = 0) -> GPT:
    """A model that knows nothing yet: 0.23 million weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return GPT(MODEL)


def sft_model() -> GPT:
    """The model after stage 1 that ``notebooks/checkpoints/concierge`` holds."""
    folder = Path(__file__).parents[2] / "notebooks" / "checkpoints" / "concierge"
    return gpt.load(folder / "sft.safetensors")


def supervised(seed: int) -> GPT:
    """A model that has read a corpus, then demonstrations: stage 1."""
    model = new_model(seed)
    for _ in pretrain.train(model, concierge.corpus(DIALOGUES, seed), PRETRAIN, seed):
        pass
    shown = concierge.demonstrations(DEMONSTRATIONS, seed)
    for _ in finetune.train(model, shown, SFT, seed):
        pass
    return model


def write_replies(
    model: GPT, questions: Sequence[str], each: int, seed: int, batch_size: int = 256
) -> list[list[str]]:
    """``each`` replies of ``model`` to every question."""
    generator = randomness.generator(seed, 11)
    prompts = [concierge.prompt_tokens(q) for q in questions for _ in range(each)]
    texts: list[str] = []
    for start in range(0, len(prompts), batch_size):
        part = prompts[start : start + batch_size]
        rollout = collect(model, part, concierge.true_rewards(), SAMPLING, generator)
        texts += [concierge.reply_of(response) for response in rollout.responses]
    return [texts[i * each : (i + 1) * each] for i in range(len(questions))]


def labelled(
    model: GPT, pairs: int, seed: int, questions: Sequence[str] | None = None, guest=GUEST
) -> tuple[list[Pair], list[float]]:
    """Pairs of the model's own replies, and which of the two ``guest`` preferred."""
    questions = concierge.questions()[0] if questions is None else questions
    written = make_pairs(questions, write_replies(model, questions, REPLIES, seed), pairs, seed)
    return written, guest.label(written, seed)


def learned_reward(
    model: GPT, pairs: Sequence[Pair], labels: Sequence[float], seed: int
) -> RewardModel:
    """A reward model that began as ``model`` and learned from the labels: stage 2.

    Its zero is the mean over demonstrations.
    """
    judge = RewardModel.from_lm(model, seed)
    for _ in reward_model.train(judge, compare(pairs, labels), REWARD_MODEL, seed):
        pass
    center_on_demonstrations(judge, seed)
    return judge


def compare(pairs: Sequence[Pair], labels: Sequence[float]) -> list[Comparison]:
    """Labelled pairs of texts as token numbers."""
    prompt, reply = concierge.prompt_tokens, concierge.reply_tokens
    return [
        Comparison(prompt(pair.prompt), reply(pair.a), reply(pair.b), share)
        for pair, share in zip(pairs, labels, strict=True)
    ]


def center_on_demonstrations(judge: RewardModel, seed: int) -> None:
    """Make the mean reward of 200 demonstrations 0."""
    shown = concierge.demonstrations(200, seed)
    reward_model.center(judge, [e.prompt for e in shown], [e.response for e in shown])


@dataclass(frozen=True)
class Scores:
    """Replies to held-out questions, number by number; arrays (N,)."""

    true: np.ndarray  # the true reward
    proxy: np.ndarray  # the reward model's
    kl: np.ndarray  # log-probability under the policy less that under the reference, nats
    length: np.ndarray  # tokens, the end included
    finished: np.ndarray  # bool
    questions: list[str]
    replies: list[str]


@torch.no_grad()
def evaluate(
    model: GPT, reference: GPT, reward: Reward, number: int = 300, seed: int = 0
) -> Scores:
    """Replies of ``model`` to ``number`` held-out questions, each as often as the others."""
    held_out = concierge.questions()[1]
    prompts = [concierge.prompt_tokens(held_out[i % len(held_out)]) for i in range(number)]
    rollout = collect(model, prompts, reward, SAMPLING, randomness.generator(seed, 12))
    texts = (rollout.tokens, rollout.valid_mask, rollout.response_mask)
    ref_logp = losses.response_logp(reference, *texts, SAMPLING.temperature)
    return Scores(
        concierge.true_rewards()(rollout.prompts, rollout.responses).numpy(),
        rollout.rewards.numpy(),
        (rollout.logp - ref_logp).sum(dim=1).numpy(),
        rollout.response_mask.sum(dim=1).numpy(),
        rollout.finished.numpy(),
        [concierge.question_of(prompt) for prompt in prompts],
        [concierge.reply_of(response) for response in rollout.responses],
    )


def training_prompts() -> list[list[int]]:
    """The questions that PPO asks, as tokens."""
    return [concierge.prompt_tokens(question) for question in concierge.questions()[0]]

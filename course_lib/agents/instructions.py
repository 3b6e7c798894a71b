"""An agent that is told what to do in a sentence: frozen sentence vectors steer a small network.

The sentence goes through an encoder that does not learn: a pretrained one, a bag of words, or a
code of the goal. Its vector is *whitened* on the sentences of training, and one trained layer makes
of it a scale and a shift for each feature of what the agent sees (Perez et al., "FiLM: Visual
Reasoning with a General Conditioning Layer", arXiv 1709.07871; BabyAI's agents, 1810.08272, hear
their instructions that way). PPO trains the rest, unchanged: an observation is what is seen and
the number of a sentence, and the agent keeps a table of their vectors, `InstructionAgent.hear`.

Left out: an encoder that is trained along, attention from words to places, memory.

Symbols: B observations, S sentences, D numbers of a sentence's vector, K of them that are kept,
P places seen, C channels, H hidden features, A actions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib import limits
from course_lib.rl import ppo
from course_lib.rl.distributions import Categorical
from course_lib.rl.networks import orthogonal, seeded

Encoder = Callable[[Sequence[str]], Tensor]  # sentences to vectors (S, D)
# Of a sentence's vector: Adam moves an output by about the rate times the sum of |inputs|, so that
# long vectors make long steps.
LENGTH = 3.5

PPO = ppo.Config(
    total_steps=327_680,
    num_envs=64,
    rollout_length=32,
    minibatch_size=512,
    epochs=3,
    gamma=0.97,
    lam=0.9,
    learning_rate=2.5e-3,
    entropy_coef=0.01,
)


@dataclass(frozen=True)
class Config:
    """The shape of the network."""

    listening: int = (
        64  # features of the sentence, from which scales and shifts are made: 16 to 128
    )
    word_vector: int = 0  # train a vector of this size per input first; 0: none
    channels: int = 32  # C per place, before and after the first FiLM: 16 to 64
    squeezed: int = 8  # channels per place that the dense layer reads: 4 to 16
    hidden: int = 128  # H features of the whole view: 64 to 256
    film_gain: float = 1.5  # of the layer that makes scales and shifts, at first: 0.1 timid, 2 bold

    def __post_init__(self) -> None:
        limits.check(
            self,
            at_least_1="listening channels squeezed hidden",
            above_0="film_gain",
            not_negative="word_vector",
        )


def film(features: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Each feature of a row times 1 + its scale, plus its shift (1709.07871, equation 2).

    ``features`` (B, H), or (B, P, C) where all places of a row share one scale and shift; ``scale``
    and ``shift`` (B, H) or (B, C). The 1 keeps a sentence that says 0 from blinding the agent.
    """
    if features.dim() == 3:
        scale, shift = scale.unsqueeze(1), shift.unsqueeze(1)
    return features * (1 + scale) + shift


def whitening(vectors: Tensor, components: int = 16, shrink: float = 0.1) -> tuple[Tensor, Tensor]:
    """Mean (D,) and transform (D, K) that make the main directions of ``vectors`` equally long.

    Apply them to any vectors as ``(x - mean) @ transform``. Vectors of similar sentences differ in
    small numbers beside large ones that they share. Centred, turned to the K directions in which
    the sentences of *training* (S, D) vary most, and divided by the spread along each, they are as
    easy to tell apart as one-hot codes. ``shrink`` adds that share of the K variances' mean to each
    variance, so that directions of noise are not blown up to full size.

    A direction and its opposite are the same one: its largest entry, by size, is made positive.
    """
    if not 1 <= components <= min(vectors.shape):
        raise ValueError(
            f"components must lie between 1 and {min(vectors.shape)}, the smaller side of "
            f"vectors {tuple(vectors.shape)}, got {components}"
        )
    mean = vectors.mean(0)
    _, singular, directions = torch.linalg.svd(vectors - mean, full_matrices=False)
    directions = directions[:components]  # (K, D), orthonormal
    variance = singular[:components] ** 2 / len(vectors)  # (K,) along each direction
    spread = (variance + shrink * variance.mean()).sqrt()
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))  # (K, 1)
    return mean, (directions * largest.sign()).T / spread


def whitened(encoder: Encoder, training: Sequence[str], components: int = 16) -> Encoder:
    """``encoder`` followed by a whitening that is fitted on the sentences of ``training``.

    Where vectors have fewer numbers than ``components``, all are kept. One number more scales them,
    so that those of training are ``LENGTH`` long on average.
    """
    vectors = encoder(training)
    mean, transform = whitening(vectors, min(components, *vectors.shape))
    transform = transform * (LENGTH / ((vectors - mean) @ transform).norm(dim=1).mean())
    return lambda sentences: (encoder(sentences) - mean) @ transform


def words(sentence: str) -> list[str]:
    """A sentence's words in small letters, without commas and other marks."""
    kept = (c if c.isalnum() or c == "-" else " " for c in sentence.lower())
    return "".join(kept).split()


class BagOfWords:
    """Counts of the words of training in a sentence, (S, V); words that are not there count 0."""

    def __init__(self, training: Sequence[str]):
        self.vocabulary = sorted({word for sentence in training for word in words(sentence)})
        self._column = {word: column for column, word in enumerate(self.vocabulary)}

    def __call__(self, sentences: Sequence[str]) -> Tensor:
        counts = torch.zeros(len(sentences), len(self.vocabulary))
        for row, sentence in enumerate(sentences):
            for word in words(sentence):
                if word in self._column:
                    counts[row, self._column[word]] += 1
        return counts


def nearest(encoder: Encoder, training: Sequence[str]) -> Callable[[Sequence[str]], list[str]]:
    """A look-up: for each sentence the one of ``training`` whose vector has the largest cosine."""
    known = F.normalize(encoder(training), dim=1)

    def look_up(sentences: Sequence[str]) -> list[str]:
        cosines = F.normalize(encoder(sentences), dim=1) @ known.T
        return [training[i] for i in cosines.argmax(1).tolist()]

    return look_up


class InstructionNet(nn.Module):
    """What is seen and which sentence was heard in; a policy and a value out.

    Every place is looked at alike and steered by the sentence, then all places together, and the
    sentence steers once more. Two sentences differ in scales and shifts alone.
    """

    shares_body = True  # policy and value come from the same features

    def __init__(
        self, cell_features: np.ndarray, places: int, inputs: int, num_actions: int, config: Config
    ):
        """``cell_features`` (codes, F) describes each kind of cell; ``inputs`` is D."""
        super().__init__()
        self.places, channels, hidden = places, config.channels, config.hidden
        self.register_buffer("cell_features", torch.as_tensor(cell_features))
        self.register_buffer("vectors", torch.zeros(1, inputs), persistent=False)
        self.word_vectors = (
            nn.Linear(inputs, config.word_vector, bias=False)
            if config.word_vector
            else nn.Identity()
        )
        self.listen = nn.Linear(config.word_vector or inputs, config.listening)
        self.steer = nn.Linear(config.listening, 2 * channels + 2 * hidden)
        self.cell = nn.Linear(self.cell_features.shape[1], channels)
        self.squeeze = nn.Linear(channels, config.squeezed)
        self.view = nn.Linear(places * config.squeezed, hidden)
        self.policy_head, self.value_head = nn.Linear(hidden, num_actions), nn.Linear(hidden, 1)
        self._sizes = [channels, channels, hidden, hidden]
        for layer in (self.squeeze, self.view):
            orthogonal(layer)
        nn.init.normal_(self.cell.weight)
        nn.init.orthogonal_(self.steer.weight, config.film_gain)
        orthogonal(self.policy_head, 0.01)
        orthogonal(self.value_head, 1.0)

    def forward(self, obs: Tensor) -> tuple[Categorical, Tensor]:
        """``obs`` (B, P + 1) int64, codes of cells and a sentence's number: policy, values (B,)."""
        cells, sentences = obs[:, : self.places], obs[:, self.places]
        heard = self.listen(self.word_vectors(self.vectors[sentences]))  # (B, listening)
        scale1, shift1, scale2, shift2 = self.steer(heard).split(self._sizes, dim=1)
        seen = F.embedding(cells, self.cell(self.cell_features))  # (B, P, C)
        places = torch.relu(film(seen, scale1, shift1))
        view = self.view(torch.relu(self.squeeze(places)).flatten(1))  # (B, H)
        features = torch.relu(film(view, scale2, shift2))
        return Categorical(self.policy_head(features)), self.value_head(features).squeeze(-1)

    def policy(self, obs: Tensor) -> Categorical:
        """The policy alone."""
        return self(obs)[0]

    def value(self, obs: Tensor) -> Tensor:
        """The values alone, (B,)."""
        return self(obs)[1]


class InstructionAgent:
    """An agent for ``ppo.train``: the network, an encoder, and the sentences it knows by number."""

    obs_normalizer = None
    device = torch.device("cpu")

    def __init__(
        self,
        encoder: Encoder,
        sentences: Sequence[str],
        cell_features: np.ndarray,
        places: int,
        num_actions: int,
        config: Config = Config(),
        seed: int = 0,
    ):
        self.encoder = encoder
        inputs = encoder(sentences[:1]).shape[1]
        shape = cell_features, places, inputs, num_actions, config
        self.network = seeded(seed, lambda: InstructionNet(*shape))
        self.hear(sentences)

    def hear(self, sentences: Sequence[str]) -> None:
        """From now on the numbers in observations stand for these ``sentences``."""
        self.sentences = list(sentences)
        self.network.vectors = self.encoder(sentences).clone()

    def read(self, obs: np.ndarray) -> Tensor:
        """Observations (N, P + 1) as a tensor."""
        return torch.as_tensor(obs)

    @torch.no_grad()
    def act(
        self, obs: np.ndarray, greedy: bool = False, generator: torch.Generator | None = None
    ) -> np.ndarray:
        """Actions (N,) for observations (N, P + 1): drawn, or the most probable ones."""
        policy = self.network.policy(self.read(obs))
        return (policy.mode() if greedy else policy.sample(generator)).numpy()

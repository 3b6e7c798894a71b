"""What a world model reads off its transformer: the next frame, and what comes of it.

``FrameDecoder`` turns the present frame and a vector of orders into the logits of the next frame.
Two heads feed it. ``ChanceHead`` first decides *which* of the possible futures comes, a discrete
chance token, and then every cell follows from that. ``BernoulliHead`` gives every cell a coin of
its own: the average of the futures. Two heads score reward and end. ``PairEvents`` looks at the
two frames between which it happened; ``HiddenEvents`` only at the transformer's vector.

Symbols: M states (windows and steps side by side), C channels, H by W cells, D width, V codes,
R rewards.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.world_models import sequence


def image(x: Tensor) -> Tensor:
    """Frames as numbers, channels last in memory: convolutions run faster that way."""
    return x.to(torch.float32, memory_format=torch.channels_last)


def with_border(x: Tensor) -> Tensor:
    """One more channel of ones, so that a padded convolution can tell where the edge is."""
    return torch.cat([x, torch.ones_like(x[:, :1])], dim=1)


class FrameDecoder(nn.Module):
    """Logits of the next frame from the present one and orders (M, D): two 3x3 convolutions.

    The orders scale and shift the convolutions' channels (FiLM, Perez et al., arXiv 1709.07871).
    What nobody changes is copied: each cell starts from a logit that says "as it was".
    """

    def __init__(self, channels: int, width: int, filters: int):
        super().__init__()
        self.orders = nn.Linear(width, 4 * filters)
        self.conv1 = nn.Conv2d(channels + 1, filters, 3, padding=1)
        self.conv2 = nn.Conv2d(filters, filters, 3, padding=1)
        self.out = nn.Conv2d(filters, channels, 1)
        self.copy = nn.Parameter(torch.full((channels, 1, 1), 4.0))
        nn.init.zeros_(self.out.weight)
        nn.init.constant_(self.out.bias, -1.0)  # most cells are empty

    def forward(self, obs: Tensor, orders: Tensor) -> Tensor:
        """``obs`` (M, C, H, W) float, ``orders`` (M, D) to logits (M, C, H, W)."""
        scale1, shift1, scale2, shift2 = self.orders(orders)[:, :, None, None].chunk(4, dim=1)
        y = torch.addcmul(shift1, self.conv1(with_border(obs)), 1 + scale1).relu_()
        y = y + torch.addcmul(shift2, self.conv2(y), 1 + scale2).relu_()
        return self.out(y) + self.copy * (2 * obs - 1)


class ChanceHead(nn.Module):
    """One of V futures, named by a discrete token.

    While learning, the *posterior* sees what really came next and names it; the *prior*, which
    sees only the past, learns to say how likely each name is. While dreaming, the prior draws.
    A categorical latent with balanced KL as in DreamerV2 (Hafner et al., arXiv 2010.02193), one
    token of a few codes here, since what is left to chance in these games is little.
    """

    FLOOR = 0.01  # share of a uniform distribution mixed into both: no code ever dies out

    def __init__(self, cells: int, width: int, hidden: int, codes: int, balance: float):
        super().__init__()
        self.codes, self.balance = codes, balance
        self.posterior = nn.Sequential(
            nn.Linear(2 * cells + width, 128), nn.GELU(), nn.Linear(128, codes)
        )
        self.prior = nn.Linear(width, codes)
        self.read = nn.Linear(width, hidden)
        self.code = nn.Linear(codes, hidden)

    def orders(self, state: Tensor, code: Tensor) -> Tensor:
        """What the decoder is told: ``state`` (M, D), one-hot ``code`` (M, V)."""
        return F.gelu(self.read(state) + self.code(code))

    def learn(self, state: Tensor, obs: Tensor, next_obs: Tensor, generator: torch.Generator):
        """Orders (M, D) under a code drawn from the posterior, and its KL to the prior, a number.

        ``state`` (M, D), ``obs`` and ``next_obs`` (M, C, H, W) float.
        """
        both = torch.cat([obs.flatten(1), next_obs.flatten(1), state.detach()], dim=1)
        posterior, prior = self._floored(self.posterior(both)), self._floored(self.prior(state))
        drawn = torch.multinomial(posterior.detach(), 1, generator=generator)[:, 0]
        # Straight through: forwards the drawn code, backwards the probabilities.
        code = F.one_hot(drawn, self.codes) + posterior - posterior.detach()
        # The prior runs after the posterior faster than the posterior comes to meet it.
        of_prior, of_posterior = _kl(posterior.detach(), prior), _kl(posterior, prior.detach())
        kl = self.balance * of_prior + (1 - self.balance) * of_posterior
        return self.orders(state, code), kl

    def draw(
        self,
        decoder: FrameDecoder,
        obs: Tensor,
        state: Tensor,
        draws: Tensor,
        generator: torch.Generator | None,
        temperature: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Next frames (M, C, H, W) uint8, their logits, and how likely each code was, (M, V).

        ``obs`` (M, C, H, W) float, ``state`` (M, D); ``draws`` (M,) in [0, 1) choose the codes.
        """
        logits = torch.empty(0)

        def decode(codes: Tensor) -> Tensor:
            nonlocal logits
            code = F.one_hot(codes, self.codes).float()
            logits = decoder(obs, self.orders(state, code))
            return logits

        chance = self.prior(state)
        frames = sequence.sample_frame(chance, decode, draws, temperature)
        return frames, logits, chance.softmax(-1)

    def _floored(self, logits: Tensor) -> Tensor:
        return (1 - self.FLOOR) * logits.softmax(dim=-1) + self.FLOOR / self.codes


class BernoulliHead(nn.Module):
    """No token: one set of orders, so the decoder's cells are averages over all futures."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.read = nn.Linear(width, hidden)

    def orders(self, state: Tensor) -> Tensor:
        """What the decoder is told: ``state`` (M, D)."""
        return F.gelu(self.read(state))

    def learn(self, state: Tensor, obs: Tensor, next_obs: Tensor, generator: torch.Generator):
        """Orders (M, D); there is no code, so the KL is 0."""
        return self.orders(state), state.new_zeros(())

    def draw(
        self,
        decoder: FrameDecoder,
        obs: Tensor,
        state: Tensor,
        draws: Tensor,
        generator: torch.Generator | None,
        temperature: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As ``ChanceHead.draw``, but each cell tosses a coin of its own; ``draws`` is not read."""
        logits, alone = decoder(obs, self.orders(state)), torch.ones(len(obs), 1)
        if temperature == 0:
            return (logits > 0).to(torch.uint8), logits, alone
        coins = torch.rand(logits.shape, generator=generator)
        return (coins < (logits / temperature).sigmoid()).to(torch.uint8), logits, alone


class PairEvents(nn.Module):
    """Logits of reward and end from the two frames between which they happened.

    It reads what came and *what changed*: an event is a change, and rare. With the two frames as
    they are, it took four times as many gradient steps to see that balls are lost.
    """

    def __init__(self, channels: int, rewards: int):
        super().__init__()
        self.conv = nn.Conv2d(2 * channels + 1, 16, 3, padding=1)
        self.net = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, rewards + 1))

    def forward(self, obs: Tensor, next_obs: Tensor, state: Tensor) -> Tensor:
        """Frames (M, C, H, W) float to (M, R + 1): rewards, then the end. ``state`` is not read."""
        pair = torch.cat([next_obs, next_obs - obs], dim=1)
        y = self.conv(with_border(pair)).relu_()
        most = F.max_pool2d(y, y.shape[2:]).flatten(1)  # eight times as fast as ``y.amax``
        # The mean over 100 cells would drown what happened in one of them.
        return self.net(torch.cat([most, y.sum((2, 3)) / 10], dim=1))


class HiddenEvents(nn.Module):
    """The known mistake: reward and end from what the transformer knew *before* the frame came.

    Which future was drawn, it cannot know: the dream shows a missed ball and goes on, or pays for
    a brick that still stands.
    """

    def __init__(self, width: int, rewards: int):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, rewards + 1))

    def forward(self, obs: Tensor, next_obs: Tensor, state: Tensor) -> Tensor:
        """``state`` (M, D) to (M, R + 1): rewards, then the end. The frames are not read."""
        return self.net(state)


def _kl(p: Tensor, q: Tensor) -> Tensor:
    """Kullback-Leibler divergence of ``q`` (M, V) from ``p``, mean over M, in nats."""
    return (p * (p.log() - q.log())).sum(-1).mean()

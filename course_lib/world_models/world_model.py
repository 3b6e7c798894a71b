"""A transformer that is a game: frame and action in, next frame, reward and end out.

The blocks are the language model's (``lm.gpt.Transformer``). A step is one vector: the frame's
embedding plus the action's. Where a language model reads off the next word, this reads off a
*chance token*, and everything that the player sees follows from it (``heads``).

Leans on IRIS (Micheli et al., arXiv 2209.00588), which writes a frame as 16 tokens, one after the
other, and on DreamerV2 (Hafner et al., arXiv 2010.02193), whose discrete latent is drawn as one.
Left out: a learned image tokenizer, since frames of zeros and ones need none; several tokens of
chance, which games with more going on want. Whether a game needs the memory is for an ablation to
say (`benchmarks/transformer_world_model/context.py`): Breakout draws the ball's trail, so that one
frame says nearly everything.

``WorldModel.loss`` is for learning from real windows, ``train`` drives it. ``start`` and ``step``
dream: they carry a ``Memory`` along, so that each step is read once.

Symbols: B windows or dreams, T steps, C channels, H by W cells, D width, V codes, R rewards.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib import limits, randomness, weights
from course_lib.lm.gpt import Cache, GPTConfig, Transformer
from course_lib.rl.networks import seeded
from course_lib.world_models import heads, sequence
from course_lib.world_models.frames import FrameReplay, Windows
from course_lib.world_models.heads import image

FRAME_HEADS = ("chance", "bernoulli")
EVENT_HEADS = ("pair", "hidden")


@dataclass(frozen=True)
class Config:
    """The shape of a world model, and what it minimises. Works for MinAtar's games."""

    context: int = 16  # steps it can look back on: 8 to 64
    layers: int = 2  # transformer blocks: 1 to 6
    width: int = 96  # channels D between them: 64 to 256
    heads: int = 4  # attention heads: width / 32 to width / 16
    encoder: int = 192  # units between a frame and its embedding: 128 to 512
    hidden: int = 192  # units between the transformer and the decoder: 128 to 512
    filters: int = 24  # channels of the decoder's convolutions: 16 to 64
    frame_head: str = "chance"  # "chance": one future is drawn; "bernoulli": all are averaged
    event_head: str = "pair"  # reward and end read the "pair" of frames, or the "hidden" state
    codes: int = 8  # futures V that a chance token can name: 4 to 32
    rewards: int = 2  # R: rewards are the whole numbers 0 to R - 1
    kl_coef: float = 0.3  # weight of the chance token's KL: 0.1 to 1
    balance: float = 0.8  # share of it that moves the prior, the rest moves the posterior

    def __post_init__(self) -> None:
        limits.check(
            self,
            ("frame_head", lambda x: x in FRAME_HEADS, f"be one of {FRAME_HEADS}"),
            ("event_head", lambda x: x in EVENT_HEADS, f"be one of {EVENT_HEADS}"),
            at_least_1="context codes rewards",
            fraction="balance",
        )


@dataclass(frozen=True)
class Training:
    """How a world model learns."""

    batch_size: int = 24  # windows per gradient step: 4 to 64
    learning_rate: float = 5e-3  # AdamW's, after the warm-up: 1e-3 to 5e-3
    final_rate: float = 0.05  # share of it at the end of each call of train
    warmup: int = 20  # gradient steps of rising learning rate, in each call of train
    weight_decay: float = 0.01  # AdamW's: 0 to 0.1
    max_grad_norm: float = 1.0  # longer gradients are shortened to this, part by part

    def __post_init__(self) -> None:
        limits.check(self, at_least_1="batch_size warmup", above_0="learning_rate max_grad_norm")


class Prediction(NamedTuple):
    """What one dreamed step of ``B`` dreams gave."""

    next_obs: Tensor  # (B, C, H, W) uint8
    rewards: Tensor  # (B,) float32
    terminated: Tensor  # (B,) bool, drawn
    end: Tensor  # (B,) probability that the step ended the episode
    reward_probs: Tensor  # (B, R)
    chance_probs: Tensor  # (B, V) how likely each future was held to be; (B, 1) without codes
    logits: Tensor  # (B, C, H, W) of the frame that came


@dataclass
class Memory:
    """What the dreams have seen: the transformer's cache, and how to make room in it."""

    cache: Cache
    embedded: Tensor  # (B, S, D) what the transformer has read, to read it again
    visible: Tensor  # (B, S) bool: False where a step belongs to another episode


class WorldModel(nn.Module):
    """One game as a network. ``obs_shape`` (C, H, W); actions are numbered 0 to A - 1."""

    def __init__(self, config: Config, obs_shape: tuple[int, ...], num_actions: int, seed: int = 0):
        super().__init__()
        self.config, self.obs_shape, self.num_actions = config, tuple(obs_shape), num_actions
        seeded(seed, self._build)

    def _build(self) -> None:
        c, channels = self.config, self.obs_shape[0]
        cells = int(np.prod(self.obs_shape))
        self.encoder = nn.Sequential(
            nn.Linear(cells, c.encoder), nn.GELU(), nn.Linear(c.encoder, c.width)
        )
        self.action = nn.Embedding(self.num_actions, c.width)
        shape = GPTConfig(1, c.context, c.layers, c.width, c.heads)  # no vocabulary is needed
        self.transformer = Transformer(shape)
        if c.frame_head == "chance":
            self.frame_head = heads.ChanceHead(cells, c.width, c.hidden, c.codes, c.balance)
        else:
            self.frame_head = heads.BernoulliHead(c.width, c.hidden)
        self.decoder = heads.FrameDecoder(channels, c.hidden, c.filters)
        if c.event_head == "pair":
            self.events = heads.PairEvents(channels, c.rewards)
        else:
            self.events = heads.HiddenEvents(c.width, c.rewards)
        self.to(memory_format=torch.channels_last)

    def num_parameters(self) -> int:
        """How many numbers the model has learned."""
        return sum(parameter.numel() for parameter in self.parameters())

    def embed(self, obs: Tensor, actions: Tensor) -> Tensor:
        """One vector per step: ``obs`` (B, T, C, H, W) and ``actions`` (B, T) to (B, T, D)."""
        return self.encoder(obs.flatten(2).float()) + self.action(actions)

    # --- Learning ------------------------------------------------------------------------------

    def loss(
        self, windows: Windows, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Negative log-likelihood of what followed each step, in nats per step, and its parts.

        ``windows`` are (B, T, ...); ``generator`` draws chance tokens from the posterior.
        """
        mask = sequence.block_causal_mask(windows.ended, 1)
        state = self.transformer(self.embed(windows.obs, windows.actions), mask=mask).flatten(0, 1)
        obs, next_obs = image(windows.obs.flatten(0, 1)), image(windows.next_obs.flatten(0, 1))
        orders, kl = self.frame_head.learn(state, obs, next_obs, generator)
        logits = self.decoder(obs, orders)
        frame = F.binary_cross_entropy_with_logits(logits, next_obs, reduction="sum") / len(obs)
        events = self.events(obs, next_obs, state).view(*windows.actions.shape, -1)
        valid = torch.ones_like(windows.terminated)
        rewards = windows.rewards.long()
        event = sequence.event_nll(
            events[..., :-1], events[..., -1], rewards, windows.terminated, valid
        )
        parts = {"frame": frame.detach(), "kl": kl.detach(), "events": event.detach()}
        return frame + self.config.kl_coef * kl + event, parts

    # --- Dreaming ------------------------------------------------------------------------------

    @torch.no_grad()
    def start(self, obs: Tensor, actions: Tensor, same_episode: Tensor | None = None) -> Memory:
        """Read what came before a dream: steps (B, t), which may be none (t = 0).

        ``obs`` (B, t, C, H, W), ``actions`` (B, t); ``same_episode`` (B, t) is False at steps
        of an earlier episode, which the dream must not look at. The frame in which the dream
        begins is not among them: it goes to ``step``, with the first action.
        """
        batch, past = actions.shape
        if past >= self.config.context:
            raise ValueError(
                f"a dream can look back on {self.config.context - 1} steps at most, got {past}"
            )
        if same_episode is None:
            same_episode = torch.ones(batch, past, dtype=torch.bool)
        return self._read(self.embed(obs, actions), same_episode)

    def _read(self, embedded: Tensor, visible: Tensor) -> Memory:
        past = embedded.shape[1]
        cache = Cache(self.transformer.config, len(embedded), self.config.context, embedded)
        if past:
            causal = torch.ones(past, past, dtype=torch.bool).tril()
            mask = causal & visible[:, None] | torch.eye(past, dtype=torch.bool)
            self.transformer(embedded, cache=cache, mask=mask)
        return Memory(cache, embedded, visible)

    @torch.no_grad()
    def step(
        self,
        memory: Memory,
        obs: Tensor,
        actions: Tensor,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
    ) -> Prediction:
        """Dream one step of each of B dreams on from ``obs`` (B, C, H, W) by ``actions`` (B,).

        ``temperature`` 1 draws chances as learned, 0 takes the likeliest of everything; both of
        the frame, the reward and the end. ``memory`` grows by this step; where it is full, its
        older half is forgotten.
        """
        state = self._advance(memory, self.embed(obs[:, None], actions[:, None]))
        frames = image(obs)
        draws = torch.rand(len(obs), generator=generator)
        next_obs, logits, chance = self.frame_head.draw(
            self.decoder, frames, state, draws, generator, temperature
        )
        events = self.events(frames, image(next_obs), state)
        reward_logits, end_logits = events[:, :-1], events[:, -1]
        if temperature == 0:
            rewards, terminated = reward_logits.argmax(-1), end_logits > 0
        else:
            probs = (reward_logits / temperature).softmax(-1)
            rewards = torch.multinomial(probs, 1, generator=generator)[:, 0]
            uniform = torch.rand(len(obs), generator=generator)
            terminated = uniform < (end_logits / temperature).sigmoid()
        return Prediction(
            next_obs, rewards.float(), terminated, end_logits.sigmoid(),
            reward_logits.softmax(-1), chance, logits,
        )  # fmt: skip

    def _advance(self, memory: Memory, embedded: Tensor) -> Tensor:
        """Let the transformer read one more step, (B, 1, D); what it knows then, (B, D)."""
        if memory.cache.length == self.config.context:
            old = self.config.context - self.config.context // 2  # all of it with a context of 1
            newer = self._read(memory.embedded[:, old:], memory.visible[:, old:])
            memory.cache, memory.embedded = newer.cache, newer.embedded
            memory.visible = newer.visible
        now = torch.ones(len(embedded), 1, dtype=torch.bool)
        memory.embedded = torch.cat([memory.embedded, embedded], dim=1)
        memory.visible = torch.cat([memory.visible, now], dim=1)
        mask = memory.visible[:, None]
        return self.transformer(embedded, cache=memory.cache, mask=mask)[:, 0]


class Run:
    """All that a training run knows besides its model, between two gradient steps.

    Give one to ``train`` to go on with it, when more frames have come.
    """

    def __init__(self, model: WorldModel, config: Training, seed: int = 0):
        self.optimizer = torch.optim.AdamW(
            model.parameters(), config.learning_rate, (0.9, 0.99), 1e-8, config.weight_decay,
            fused=True,
        )  # fmt: skip
        self.generator = randomness.generator(seed, stream=2)


def train(
    model: WorldModel,
    replay: FrameReplay,
    config: Training,
    steps: int,
    seed: int = 0,
    *,
    run: Run | None = None,
) -> Iterator[dict[str, float]]:
    """Train ``model`` in place on windows of ``replay``; yield a dictionary after each step.

    With ``run`` training goes on from there. The learning rate rises and falls once per call.
    Metrics: ``updates``, ``loss``, ``frame``, ``kl`` and ``events``, in nats per step.
    """
    run = run or Run(model, config, seed)
    model.train()
    for update in range(steps):
        falling = 1 - (1 - config.final_rate) * update / steps
        rate = config.learning_rate * min(1.0, (update + 1) / config.warmup) * falling
        run.optimizer.param_groups[0]["lr"] = rate
        windows = replay.windows(config.batch_size, model.config.context, run.generator)
        loss, parts = model.loss(windows, run.generator)
        run.optimizer.zero_grad()
        loss.backward()
        # Part by part: early on the decoder's gradient is so long that little of the others' would
        # be left, and the rare events would be learned last.
        for part in model.children():
            nn.utils.clip_grad_norm_(part.parameters(), config.max_grad_norm)
        run.optimizer.step()
        row = {"updates": float(update + 1), "loss": float(loss.detach())}
        yield row | {name: float(value) for name, value in parts.items()}


def save(model: WorldModel, path: Path | str, made_by: str = "") -> None:
    """Write weights, shape and where they come from to one safetensors file."""
    record = {"config": asdict(model.config), "obs_shape": model.obs_shape}
    record |= {"num_actions": model.num_actions, "made_by": made_by}
    weights.save(path, model.state_dict(), "world_model", record)


def load(path: Path | str) -> WorldModel:
    """Read a model that ``save`` wrote."""
    tensors, record = weights.load(path, "world_model")
    model = WorldModel(Config(**record["config"]), record["obs_shape"], record["num_actions"])
    model.load_state_dict(tensors)
    return model.eval()

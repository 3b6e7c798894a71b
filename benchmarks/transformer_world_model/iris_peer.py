"""A world model that writes its frames token by token, in the manner of IRIS.

Micheli et al., "Transformers are Sample-Efficient World Models" (arXiv 2209.00588): a frame is K
tokens, then comes the action's; the next frame's tokens are drawn one after the other, and reward
and end are read where the action was. Restated on the course's own transformer, with the
nearest-neighbour tokenizer in place of IRIS's learned one, to compare speed at the same size. It
has ``start`` and ``step`` like ``world_model.WorldModel``, so the same ``Dream`` runs it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.lm.gpt import Cache, GPTConfig, Transformer
from course_lib.rl.networks import seeded
from course_lib.world_models.frame_tokenizer import FrameTokenizer
from course_lib.world_models.sequence import event_nll
from course_lib.world_models.world_model import Prediction


class Memory:
    """The transformer's cache, and which of its places belong to this episode."""

    def __init__(self, cache: Cache, visible: Tensor):
        self.cache = cache
        self.visible = visible  # (B, S) bool
        self.waiting: Tensor | None = None  # (B, 1) last token drawn, not read yet


class TokenWorldModel(nn.Module):
    """A GPT over K frame tokens and one action token per step."""

    def __init__(
        self,
        tokenizer: FrameTokenizer,
        num_actions: int,
        layers: int = 4,
        width: int = 96,
        context: int = 16,
        seed: int = 0,
    ):
        super().__init__()
        self.tokenizer, self.num_actions = tokenizer, num_actions
        self.obs_shape = tokenizer.frame_shape
        self.places = tokenizer.tokens_per_frame + 1
        words = tokenizer.vocab_size
        self.shape = GPTConfig(words + num_actions, context * self.places, layers, width, 4)
        seeded(seed, self._build)

    def _build(self) -> None:
        self.embedding = nn.Embedding(self.shape.vocab_size, self.shape.width)
        self.transformer = Transformer(self.shape)
        self.next_token = nn.Linear(self.shape.width, self.tokenizer.vocab_size)
        self.events = nn.Linear(self.shape.width, 3)  # rewards 0 and 1, end

    def num_parameters(self) -> int:
        """How many numbers the model has learned."""
        return sum(parameter.numel() for parameter in self.parameters())

    def tokens(self, obs: Tensor, actions: Tensor) -> Tensor:
        """Steps (B, T, C, H, W), (B, T) as one sequence of tokens (B, T * (K + 1))."""
        batch, steps = actions.shape
        words = self.tokenizer.encode(obs.flatten(0, 1)).view(batch, steps, -1)
        named = actions[..., None] + self.tokenizer.vocab_size
        return torch.cat([words, named], dim=2).flatten(1)

    def loss(self, windows) -> tuple[Tensor, dict[str, Tensor]]:
        """Negative log-likelihood of the next frame's tokens, reward and end, in nats per step."""
        tokens = self.tokens(windows.obs, windows.actions)
        ended = windows.ended.long()
        episode = (ended.cumsum(1) - ended).repeat_interleave(self.places, 1)
        same = episode[:, :, None] == episode[:, None]
        mask = same & torch.ones_like(same).tril()
        state = self.transformer(self.embedding(tokens), mask=mask)
        targets = tokens[:, 1:].clone()
        # Actions are chosen, not predicted; nor is the first frame of another episode.
        new = torch.zeros_like(targets, dtype=torch.bool)
        new[:, self.places - 1 :] = episode[:, self.places :] != episode[:, : -self.places]
        targets[(targets >= self.tokenizer.vocab_size) | new] = -100
        logits = self.next_token(state[:, :-1]).flatten(0, 1)
        frame = F.cross_entropy(logits, targets.flatten(), reduction="sum")
        frame = frame / windows.actions.numel()
        events = self.events(state)
        valid = torch.ones_like(windows.terminated)
        rewards = windows.rewards.long()
        event = event_nll(events[..., :2], events[..., 2], rewards, windows.terminated, valid)
        return frame + event, {"frame": frame.detach(), "events": event.detach()}

    @torch.no_grad()
    def start(self, obs: Tensor, actions: Tensor, same_episode: Tensor) -> Memory:
        """Read the steps before a dream, as ``WorldModel.start`` does."""
        batch, past = actions.shape
        cache = Cache(self.shape, batch, self.shape.context, self.next_token.weight)
        visible = same_episode.repeat_interleave(self.places, 1)
        memory = Memory(cache, visible[:, :0])
        if past:
            self._read(memory, self.tokens(obs, actions), visible)
        return memory

    def _read(self, memory: Memory, tokens: Tensor, visible: Tensor | None = None) -> Tensor:
        """Read tokens (B, n); what the transformer knows after the last, (B, D)."""
        new = tokens.shape[1]
        now = torch.ones_like(tokens, dtype=torch.bool) if visible is None else visible
        memory.visible = torch.cat([memory.visible, now], dim=1)
        total = memory.visible.shape[1]
        mask = memory.visible[:, None]
        if new > 1:
            causal = torch.ones(new, total, dtype=torch.bool).tril(total - new)
            itself = torch.eye(total, dtype=torch.bool)[-new:]
            mask = mask & causal | itself
        return self.transformer(self.embedding(tokens), cache=memory.cache, mask=mask)[:, -1]

    @torch.no_grad()
    def step(
        self,
        memory: Memory,
        obs: Tensor,
        actions: Tensor,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
    ) -> Prediction:
        """Dream one step, as ``WorldModel.step`` does; the frame's tokens are drawn in turn."""
        named = actions[:, None] + self.tokenizer.vocab_size
        before = self.tokenizer.encode(obs) if memory.waiting is None else memory.waiting
        state = self._read(memory, torch.cat([before, named], dim=1))
        events, drawn = self.events(state), []
        while True:
            probs = (self.next_token(state) / temperature).softmax(-1)
            drawn.append(torch.multinomial(probs, 1, generator=generator))
            if len(drawn) == self.places - 1:
                break
            state = self._read(memory, drawn[-1])
        memory.waiting = drawn[-1]
        next_obs = self.tokenizer.decode(torch.cat(drawn, dim=1))
        rewards = torch.multinomial(events[:, :2].softmax(-1), 1, generator=generator)[:, 0]
        end = events[:, 2].sigmoid()
        terminated = torch.rand(len(obs), generator=generator) < end
        return Prediction(
            next_obs, rewards.float(), terminated, end, events[:, :2].softmax(-1), probs, next_obs
        )

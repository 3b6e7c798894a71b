"""Decision transformer: ask a sequence model for a return, and it plays as those who got it did.

Chen et al., "Decision Transformer: Reinforcement Learning via Sequence Modeling" (arXiv
2106.01345, algorithm 1). A step of a game becomes three tokens: the return still to come, the
state, the action taken. The transformer of the language model reads the last ``K`` steps and says,
at each state, which action was taken there. Nothing else is learned: no value, no bootstrapping.
To play, the return wanted stands in for the one that came, less whatever has been earned so far.

With ``returns`` False the return is left out, two tokens a step: cloning with a memory, which
cannot be asked for anything.

``train`` reads top to bottom: windows, loss, gradient, step; ``play`` does so too: ask, act,
subtract, forget. Left out: the paper's learned embedding of the time within an episode (rotary
positions tell the steps of a window apart), dropout, continuous actions, and predicting returns
and states as well.

Symbols: B windows, T steps of a window (at most K in play), C channels (``width``), A actions, N
environments, E episodes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib import allocator, limits, randomness, weights
from course_lib.lm.gpt import GPTConfig, Transformer
from course_lib.rl import dataset
from course_lib.rl.dataset import Dataset
from course_lib.rl.envs import Envs
from course_lib.rl.networks import body, seeded

KIND = "decision_transformer"  # of the files that `save` writes


@dataclass(frozen=True)
class Config:
    """The shape of a model and the settings of one run."""

    context: int = 8  # steps K that the model looks back over, the present one included: 1 to 30
    layers: int = 2  # blocks of the transformer: 2 to 6
    width: int = 64  # channels C between blocks: 32 to 128
    heads: int = 4  # attention heads: width / 32 to width / 16
    channels: int = 16  # of the convolution, where observations are images: 8 to 32
    returns: bool = True  # condition on the return to go; False: cloning with a memory
    return_scale: float = 10.0  # divides returns to go, so that they stay near 1: the best return
    steps: int = 1_200  # updates, over which the learning rate rises and falls: 500 to 1e5
    batch_size: int = 32  # windows per update: 32 to 128
    learning_rate: float = 1e-3  # AdamW's, at its highest, falls in a line to 5 %: 1e-4 to 3e-3
    weight_decay: float = 0.01  # AdamW's: 0 to 0.1
    warmup: int = 50  # updates in which the rate rises from 0: 0 to a tenth of steps
    max_grad_norm: float = 1.0  # longer gradients are shortened to this

    def __post_init__(self) -> None:
        limits.check(
            self,
            at_least_1="context layers width heads channels steps batch_size",
            above_0="return_scale learning_rate max_grad_norm",
            not_negative="weight_decay warmup",
        )


_SHAPE = ("context", "layers", "width", "heads", "channels", "returns", "return_scale")


def interleave(returns: Tensor, states: Tensor, actions: Tensor) -> Tensor:
    """One sequence of three that belong together, each (B, T, C): (B, 3T, C).

    In the order R_1, s_1, a_1, R_2, s_2, a_2, ...: step t's return to go, state and action are
    tokens 3t, 3t + 1 and 3t + 2, counted from 0. A causal model that reads at a state has then seen
    what is wanted and what there is, but not the action it is to name (2106.01345, figure 1).
    """
    return torch.stack([returns, states, actions], dim=2).flatten(1, 2)


def action_loss(logits: Tensor, actions: Tensor, mask: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy of the actions taken, a number in nats per real step, and how often they fit.

    ``logits`` (B, T, A), ``actions`` (B, T) int64, ``mask`` (B, T) bool, True at real steps and
    False at padding, which counts neither in the sum nor in the number that divides it. "accuracy"
    is the share of real steps at which the likeliest action is the one taken.
    """
    scores, taken = logits[mask], actions[mask]
    loss = F.cross_entropy(scores, taken)
    fits = (scores.detach().argmax(-1) == taken).float().mean()
    return loss, {"loss": loss.detach(), "accuracy": fits}


class DecisionTransformer(nn.Module):
    """Windows of a game in, a score for every action at each of their steps out."""

    def __init__(self, obs_shape: Sequence[int], num_actions: int, config: Config, seed: int = 0):
        """``obs_shape`` is a vector's (D,) or an image's (C, H, W); ``seed`` draws the weights."""
        super().__init__()
        self.obs_shape, self.num_actions, self.config = tuple(obs_shape), num_actions, config
        seeded(seed, self._build)

    def _build(self) -> None:
        config, width = self.config, self.config.width
        hidden = (width,) if len(self.obs_shape) == 3 else (width, width)
        # Without its last activation: a token is free to be negative, as embeddings are.
        self.state = body(self.obs_shape, hidden, config.channels)[:-1]
        self.action = nn.Embedding(self.num_actions, width)
        self.to_go = nn.Linear(1, width) if config.returns else None
        places = (3 if config.returns else 2) * config.context
        shape = GPTConfig(1, places, config.layers, width, config.heads)  # no vocabulary is used
        self.transformer = Transformer(shape)
        self.head = nn.Linear(width, self.num_actions)

    def features(self, obs: Tensor, actions: Tensor, to_go: Tensor) -> Tensor:
        """What the model knows at each state, before the head: (B, T, C). Arguments as `forward`'s.

        Step t has seen returns and states up to t and the actions *before* t.
        """
        batch, steps = actions.shape
        frames = obs.flatten(0, 1).float()  # all at once; images arrive as uint8
        states, taken = self.state(frames).view(batch, steps, -1), self.action(actions)
        if self.to_go is None:
            tokens, at_states = torch.stack([states, taken], dim=2).flatten(1, 2), slice(0, None, 2)
        else:
            returns = self.to_go(to_go.float()[..., None] / self.config.return_scale)
            tokens, at_states = interleave(returns, states, taken), slice(1, None, 3)
        # Whatever precision they were put in order with, the transformer computes in its own.
        return self.transformer(tokens.to(states.dtype))[:, at_states]

    def forward(self, obs: Tensor, actions: Tensor, to_go: Tensor) -> Tensor:
        """Scores (logits) of the action at each step, (B, T, A), read at the state tokens.

        ``obs`` (B, T, *obs_shape) of any dtype, ``actions`` (B, T) int64, ``to_go`` (B, T) in units
        of reward, each step's own reward included; it is ignored where ``returns`` is False. Step
        t's scores do not depend on its action: any number may stand there while it is not chosen.
        Padding belongs on the right, where no real step looks.
        """
        return self.head(self.features(obs, actions, to_go))


def learning_rate(step: int, config: Config) -> float:
    """The rate of update ``step``, from 1 on: up in ``warmup`` updates, in a line down to 5 %."""
    rise = min(1.0, step / max(1, config.warmup))
    return config.learning_rate * rise * (1 - 0.95 * min(1.0, step / config.steps))


def train(
    model: DecisionTransformer,
    data: Dataset,
    config: Config,
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> Iterator[dict[str, float]]:
    """Train ``model`` in place on ``data``; one record per update: steps, loss and accuracy.

    Windows begin at any row, each as likely as any other. ``groups`` (S,) whole numbers says which
    group a row belongs to, for instance which game: then a window is as likely to begin in one
    group as in another, whatever their sizes. "loss" and "accuracy" are the batch's before its
    update. Raises ``ValueError`` where data or config do not fit the model's shape.
    """
    _check_fits(model, data)
    for name in _SHAPE:
        built, given = getattr(model.config, name), getattr(config, name)
        if built != given:
            raise ValueError(f"{name} is {built} in the model and {given} here: they must be equal")
    allocator.keep_freed_memory()
    generator = randomness.generator(seed)
    to_go = dataset.returns_to_go(data.rewards, data.ended)
    optimizer = torch.optim.AdamW(
        model.parameters(), config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    chances = _cumulative_chances(len(data), groups)
    for step in range(1, config.steps + 1):
        draws = torch.rand(config.batch_size, generator=generator, dtype=torch.float64)
        first = torch.searchsorted(chances, draws, right=True)
        rows, mask = data.windows(first.numpy(), config.context)
        actions = torch.from_numpy(data.actions[rows])
        logits = model(data.obs(rows), actions, torch.from_numpy(to_go[rows]))
        loss, metrics = action_loss(logits, actions, mask)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, config)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
        optimizer.step()
        yield {"steps": float(step)} | {name: float(value) for name, value in metrics.items()}


def _cumulative_chances(rows: int, groups: np.ndarray | None) -> Tensor:
    """The chance that a window begins at any of the rows up to each, (S,): rising to 1."""
    groups = np.zeros(rows, np.int64) if groups is None else np.asarray(groups)
    if groups.shape != (rows,):
        raise ValueError(f"groups must have shape {(rows,)}, one per row, got {groups.shape}")
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    total = np.cumsum(1 / sizes[group])
    return torch.from_numpy(total / total[-1])


def _check_fits(model: DecisionTransformer, other: Dataset | Envs) -> None:
    built, given = ((tuple(x.obs_shape), x.num_actions) for x in (model, other))
    if built != given:
        raise ValueError(
            f"the model reads observations {built[0]} and chooses among {built[1]} actions, "
            f"here are {given[0]} and {given[1]}: build a model of these shapes"
        )


class _Memory:
    """The last K steps of each of N environments, oldest first, unused places on the right."""

    def __init__(self, num_envs: int, context: int, obs_shape: Sequence[int]):
        self.obs = torch.zeros(num_envs, context, *obs_shape)
        self.actions = torch.zeros(num_envs, context, dtype=torch.int64)
        self.to_go = torch.zeros(num_envs, context)
        self.steps = torch.zeros(num_envs, dtype=torch.int64)  # remembered of each
        self._everyone = torch.arange(num_envs)

    def add(self, obs: np.ndarray, to_go: np.ndarray) -> None:
        """Begin a step everywhere: ``obs`` (N, *obs_shape), ``to_go`` (N,). No action is known."""
        full = self.steps == self.actions.shape[1]
        for column in (self.obs, self.actions, self.to_go):
            column[full] = column[full].roll(-1, dims=1)  # the oldest goes to the end
        at = self._everyone, self.steps - full.long()
        self.obs[at] = torch.as_tensor(obs).float()
        self.to_go[at] = torch.as_tensor(to_go).float()
        self.actions[at] = 0
        self.steps = at[1] + 1

    def complete(self, actions: Tensor) -> None:
        """Write down the actions (N,) of the step that ``add`` began."""
        self.actions[self._everyone, self.steps - 1] = actions

    def forget(self, which: np.ndarray) -> None:
        """Remember nothing of the environments ``which`` (N,) bool."""
        self.steps[torch.as_tensor(which)] = 0


@torch.no_grad()
def play(
    model: DecisionTransformer,
    envs: Envs,
    target: float | np.ndarray,
    episodes: int,
    greedy: bool = False,
    seed: int = 0,
) -> np.ndarray:
    """Ask for the return ``target``, a number or (N,), and say what whole episodes brought: (E,).

    Each of the N environments plays the same number of episodes, so E is ``episodes`` rounded up to
    a multiple of N, one environment after the other, as `evaluation.evaluate` has them. The return
    still asked for is ``target`` less the rewards of the episode so far; it may become negative.
    The model sees at most its last ``context`` steps, and nothing of the episode before. Actions
    are drawn with a generator of ``seed``, or the likeliest ones with ``greedy``. Raises
    ``ValueError`` where the environments do not fit the model.
    """
    if episodes < 1:
        raise ValueError(f"episodes must be at least 1, got {episodes}")
    _check_fits(model, envs)
    generator = randomness.generator(seed)
    quota = -(-episodes // envs.num_envs)
    finished: list[list[float]] = [[] for _ in range(envs.num_envs)]
    running = np.zeros(envs.num_envs)
    memory = _Memory(envs.num_envs, model.config.context, envs.obs_shape)
    obs = envs.reset()
    while min(len(done) for done in finished) < quota:
        memory.add(obs, target - running)
        playing = torch.tensor([i for i, done in enumerate(finished) if len(done) < quota])
        actions = torch.zeros(envs.num_envs, dtype=torch.int64)  # the others' no longer count
        actions[playing] = _choose(model, memory, playing, None if greedy else generator)
        memory.complete(actions)
        obs, rewards, terminated, truncated, valid = envs.step(actions.numpy())
        running += rewards * valid
        for i in np.flatnonzero(terminated | truncated):
            if len(finished[i]) < quota:
                finished[i].append(float(running[i]))
            running[i] = 0.0
        memory.forget(~valid)  # ``obs`` is there the first one of another episode
    return np.array(finished).ravel()


def _choose(
    model: DecisionTransformer,
    memory: _Memory,
    rows: Tensor,
    generator: torch.Generator | None,
) -> Tensor:
    """Actions of the environments ``rows`` (R,) at their latest step, (R,); None: the likeliest."""
    steps = memory.steps[rows]
    used = int(steps.max())
    columns = (memory.obs, memory.actions, memory.to_go)
    logits = model(*(column[rows, :used] for column in columns))
    logits = logits[torch.arange(len(rows)), steps - 1]
    if generator is None:
        return logits.argmax(-1)
    return torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]


def save(model: DecisionTransformer, path: Path | str) -> None:
    """Write weights, shapes and settings of ``model`` to one safetensors file."""
    record = {
        "obs_shape": model.obs_shape,
        "num_actions": model.num_actions,
        "config": asdict(model.config),
    }
    weights.save(path, model.state_dict(), KIND, record)


def load(path: Path | str) -> DecisionTransformer:
    """Read a model that ``save`` wrote; ``ValueError`` where ``path`` holds something else."""
    tensors, record = weights.load(path, KIND)
    config = Config(**record["config"])
    model = DecisionTransformer(record["obs_shape"], record["num_actions"], config)
    model.load_state_dict(tensors)
    return model

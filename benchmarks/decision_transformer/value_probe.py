"""What a transformer that learned from play knows about values: a ridge on its frozen features.

Two transformers read the same replay of Breakout, with the same batches and number of steps, and
no return among their inputs. One learns to predict the recorded action; the other the action *and*
the discounted return. Then they are frozen, and a linear map from their features to the discounted
return is fitted to 100 or 1,000 labelled frames of another player, the expert; so it is for the
features of a transformer that was never trained, and for raw pixels. A small network of the usual
kind learns from the same labels from scratch. Its training stops early, by a fifth of the labels;
the ridge's penalty is chosen by the same fifth. Both are judged by R² on frames of other episodes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.decision_transformer.offline_runs import (
    data,
    discounted,
    once,
    transformer,
    verdict,
)
from benchmarks.harness import (
    Clock,
    Goal,
    at_least,
    at_most,
    by,
    fresh_seeds,
    mean_over_seeds,
    reported,
)
from course_lib.agents import decision_transformer as dt
from course_lib.rl.networks import body, seeded

GAMMA = 0.97
LABELS = (100, 1_000)
TESTED = 2_000  # frames
STEPS, BATCH, RATE, WARMUP = 500, 32, 1e-3, 30  # of the transformers
SCRATCH_STEPS, CHECK_EVERY = 400, 20  # of the small network
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
CONFIG = dt.Config(returns=False)
RETURNS, ACTIONS, UNTRAINED = "trained on returns", "trained on actions", "untrained"
PIXELS, SCRATCH = "raw pixels", "from scratch"


def returns_of(kind: str) -> np.ndarray:
    return discounted(data(kind).rewards, data(kind).ended, GAMMA)


def pretrain(model: dt.DecisionTransformer, values: bool, seed: int, steps: int) -> float:
    """Train ``model`` on recorded actions and, with ``values``, on returns; CPU seconds."""
    shown, rng = data(), np.random.default_rng((seed, 3))
    head = seeded(seed, lambda: nn.Linear(model.config.width, 1))
    both = [*model.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(both, RATE, weight_decay=0.01, fused=True)
    returns = returns_of("replay")
    targets = torch.from_numpy((returns - returns.mean()) / returns.std())
    with Clock() as clock:
        for step in range(steps):
            rate = RATE * min(1, (step + 1) / WARMUP) * (1 - 0.95 * step / steps)
            optimizer.param_groups[0]["lr"] = rate
            rows, mask = shown.windows(rng.integers(len(shown), size=BATCH), model.config.context)
            actions = torch.from_numpy(shown.actions[rows])
            obs, nothing = shown.obs(rows), torch.zeros(rows.shape)
            loss, _ = dt.action_loss(model(obs, actions, nothing), actions, mask)
            if values:
                told = head(model.features(obs, actions, nothing))[..., 0]
                loss = loss + F.mse_loss(told[mask], targets[rows][mask])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(both, 1.0)
            optimizer.step()
    return round(clock.cpu, 1)


@torch.no_grad()
def features(model: dt.DecisionTransformer, rows: np.ndarray) -> np.ndarray:
    """What ``model`` knows at each of ``rows`` (B,) after the steps before it, (B, C)."""
    other, found = data("expert"), []
    for part in np.array_split(rows, max(1, len(rows) // 250)):
        begin = other.starts[other.episode[part]]
        first = np.maximum(part - model.config.context + 1, begin)
        window, _ = other.windows(first, model.config.context)
        actions = torch.from_numpy(other.actions[window])
        state = model.features(other.obs(window), actions, torch.zeros(window.shape))
        found.append(state[torch.arange(len(part)), torch.from_numpy(part - first)])
    return torch.cat(found).numpy()


def explained(told: np.ndarray, true: np.ndarray) -> float:
    """R²: 1 is perfect, 0 as good as the mean."""
    return round(float(1 - ((told - true) ** 2).mean() / true.var()), 4)


def ridge(x: np.ndarray, y: np.ndarray, tested: np.ndarray) -> np.ndarray:
    """Predictions for ``tested`` (M, D) of a ridge on ``x`` (N, D) and ``y`` (N,)."""
    middle, spread = x.mean(0), x.std(0) + 1e-3
    x, tested = (x - middle) / spread, (tested - middle) / spread
    fifth = len(x) // 5

    def fit(x: np.ndarray, y: np.ndarray, penalty: float) -> Callable[[np.ndarray], np.ndarray]:
        bend = x.T @ x + penalty * len(x) * np.eye(x.shape[1])
        weights = np.linalg.solve(bend, x.T @ (y - y.mean()))
        return lambda new: new @ weights + y.mean()

    def error(penalty: float) -> float:
        return float(((fit(x[fifth:], y[fifth:], penalty)(x[:fifth]) - y[:fifth]) ** 2).mean())

    return fit(x, y, min(PENALTIES, key=error))(tested)


def from_scratch(x: Tensor, y: np.ndarray, tested: Tensor, seed: int, steps: int) -> np.ndarray:
    """Predictions of a convolutional network that has seen nothing but ``x`` and ``y``."""
    net = seeded(seed, lambda: nn.Sequential(body(x.shape[1:], (128,)), nn.Linear(128, 1)))
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=0.1)
    rng, fifth = np.random.default_rng((seed, 4)), len(x) // 5
    middle, spread = float(y.mean()), float(y.std())
    targets = torch.from_numpy((y - middle) / spread).float()
    least, best = np.inf, net.state_dict()
    for step in range(1, steps + 1):
        rows = torch.from_numpy(rng.integers(fifth, len(x), size=64))
        loss = F.mse_loss(net(x[rows].float())[:, 0], targets[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % CHECK_EVERY == 0:
            with torch.no_grad():
                error = float(F.mse_loss(net(x[:fifth].float())[:, 0], targets[:fifth]))
            if error < least:
                least, best = error, {k: v.clone() for k, v in net.state_dict().items()}
    net.load_state_dict(best)
    with torch.no_grad():
        told = torch.cat([net(part.float())[:, 0] for part in tested.split(500)])
    return told.numpy() * spread + middle


def probe(seed: int, quick: bool) -> list[dict]:
    """All methods with all numbers of labels, on one seed."""
    steps, other = STEPS // 20 if quick else STEPS, data("expert")

    def work() -> list[dict]:
        rng, true = np.random.default_rng((seed, 5)), returns_of("expert")
        split = int(other.starts[len(other.starts) * 2 // 3])  # later episodes are for the test
        labelled = rng.permutation(split)[: max(LABELS)]
        tested = split + rng.permutation(len(other) - split)[:TESTED]
        models = {name: transformer(seed, CONFIG) for name in (RETURNS, ACTIONS, UNTRAINED)}
        cpu = {n: pretrain(models[n], n == RETURNS, seed, steps) for n in (RETURNS, ACTIONS)}
        read = {name: (features(m, labelled), features(m, tested)) for name, m in models.items()}
        images = other.obs(labelled), other.obs(tested)
        read[PIXELS] = tuple(image.flatten(1).numpy().astype(np.float32) for image in images)
        runs = []
        for labels in LABELS:
            y = true[labelled[:labels]]
            found = {name: ridge(x[:labels], y, new) for name, (x, new) in read.items()}
            few = SCRATCH_STEPS // 4 if quick else SCRATCH_STEPS
            found[SCRATCH] = from_scratch(images[0][:labels], y, images[1], seed, few)
            marks = {name: explained(told, true[tested]) for name, told in found.items()}
            for name, r2 in marks.items():
                run = {"features": name, "labels": labels, "seed": seed, "r2": r2}
                runs.append(run | ({"cpu": cpu[name]} if name in cpu else {}))
        return runs

    return once(f"probe_{steps}_{seed}", work, quick)


def measure(quick: bool) -> dict:
    seeds = fresh_seeds(1 if quick else 10)
    return {"seeds": seeds, "runs": [run for seed in seeds for run in probe(seed, quick)]}


def judge(result: dict) -> list[Goal]:
    runs = by(result["runs"], "labels", "features")
    marks = {key: np.array([run["r2"] for run in rows]) for key, rows in runs.items()}
    goals, seeds = [], len(result["seeds"])
    for (labels, name), values in marks.items():
        words = mean_over_seeds(values, within=(-np.inf, 1.0))
        title = f"value of the expert's frames, {labels:,} labels, {seeds} seeds, {name}: R²"
        if (labels, name) == (LABELS[0], RETURNS):
            goals.append(at_least(title, 0.25, values.mean(), words))
        elif (labels, name) == (LABELS[0], SCRATCH):
            goals.append(at_most(title, 0.2, values.mean(), words))
        else:
            goals.append(reported(title, words))
    for labels in LABELS:
        for name in (ACTIONS, UNTRAINED, PIXELS, SCRATCH):
            words = verdict(marks[labels, RETURNS] - marks[labels, name])
            title = f"value of the expert's frames, {labels:,} labels: {RETURNS} less {name}, R²"
            goals.append(reported(title, words))
        words = verdict(marks[labels, ACTIONS] - marks[labels, UNTRAINED])
        title = f"value of the expert's frames, {labels:,} labels: {ACTIONS} less {UNTRAINED}, R²"
        goals.append(reported(title, words))
    return goals

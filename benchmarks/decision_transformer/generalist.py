"""One transformer for three games against three specialists, and what it is worth in a fourth.

Cloning with a memory of eight steps, on recordings of good players of Breakout, SpaceInvaders and
Freeway, with frames of one shape and actions of one name (``worlds/many_games.py``). All networks
are alike. A *specialist* learns one game. The *generalist* learns all three from mixed batches,
once in as many updates as one specialist, so that it sees a third as much of each game, and once in
three times as many, so that it sees as much of each game as its specialist.

*A new game*: the second generalist, and a network from scratch, learn from about 1,000 and 8,000
frames of Asterix, with the same settings. Scores are mean returns of 32 games with drawn actions;
the surprise is the cross-entropy of recorded actions in episodes that no training has seen.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache

import numpy as np
import torch

from benchmarks.decision_transformer.offline_runs import (
    data,
    learn,
    mean_of,
    once,
    paired,
    transformer,
    verdict,
)
from benchmarks.harness import Goal, by, fresh_seeds, mean_over_seeds, reported
from course_lib.agents import decision_transformer as dt
from course_lib.rl.dataset import Dataset
from course_lib.worlds import many_games

GAMES, NEW = ("Breakout", "SpaceInvaders", "Freeway"), "Asterix"
CONFIG = dt.Config(returns=False, steps=1_000)
FEW = replace(CONFIG, steps=300, warmup=20)
FRAMES = (1_000, 8_000)  # at least so many of the new game, in whole episodes
SHOWN = 0.9  # share of the episodes that training may see
EPISODES, EXAMINED = 32, 256  # games of a test, windows of an exam
SPECIALIST = "specialist"
SHARED, FULL = "generalist, equal updates", "generalist, equal updates per game"
SCRATCH, MOVED = "from scratch", "from the generalist"


@cache
def halves(game: str) -> tuple[Dataset, Dataset]:
    """What training sees of a game's good player, and what only the exam sees."""
    whole = many_games.recording(data("expert", game), game)
    count = len(whole.returns)
    cut = int(SHOWN * count)
    return whole.only(np.arange(cut)), whole.only(np.arange(cut, count))


@torch.no_grad()
def surprise(model: dt.DecisionTransformer, game: str) -> float:
    """Nats per action on windows of unseen episodes, the same for everyone."""
    exam = halves(game)[1]
    first = np.random.default_rng(9).integers(len(exam), size=EXAMINED)
    rows, mask = exam.windows(first, model.config.context)
    actions = torch.from_numpy(exam.actions[rows])
    loss, _ = dt.action_loss(model(exam.obs(rows), actions, torch.zeros(rows.shape)), actions, mask)
    return round(float(loss), 4)


def score(model: dt.DecisionTransformer, game: str, seed: int) -> float:
    envs = many_games.make(game, EPISODES, 10_000 + seed)
    return round(float(dt.play(model, envs, 0.0, EPISODES, seed=seed).mean()), 3)


def marks(who: str, model: dt.DecisionTransformer, game: str, seed: int, found: dict) -> dict:
    model.eval()
    return {
        "who": who, "game": game, "seed": seed, **found,
        "score": score(model, game, seed), "surprise": surprise(model, game),
    }  # fmt: skip


def short(config: dt.Config, quick: bool) -> dt.Config:
    return replace(config, steps=config.steps // 40, warmup=5) if quick else config


def specialists(seed: int, quick: bool) -> list[dict]:
    runs = []
    for game in GAMES:
        shown, _ = halves(game)
        model = transformer(seed, CONFIG, shown)
        found = learn(dt.train(model, shown, short(CONFIG, quick), seed))
        runs.append(marks(SPECIALIST, model, game, seed, found))
    return runs


def generalists(seed: int, quick: bool) -> list[dict]:
    """Both generalists, and what the second one learns of a new game."""
    runs = []
    together, games = many_games.joined([halves(game)[0] for game in GAMES])
    for who, updates in ((SHARED, CONFIG.steps), (FULL, len(GAMES) * CONFIG.steps)):
        config = replace(CONFIG, steps=updates)
        model = transformer(seed, config, together)
        found = learn(dt.train(model, together, short(config, quick), seed, games))
        runs += [marks(who, model, game, seed, found) for game in GAMES]
    return runs + transfer(model, seed, quick)


def transfer(model: dt.DecisionTransformer, seed: int, quick: bool) -> list[dict]:
    """A few frames of the new game, for ``model`` and for a network that knows nothing."""
    runs, whole = [], halves(NEW)[0]
    order = np.random.default_rng((seed, 8)).permutation(len(whole.returns))
    lengths = (whole.ends - whole.starts + 1)[order].cumsum()
    for frames in FRAMES:
        few = whole.only(order[: np.searchsorted(lengths, frames) + 1])
        for who in (SCRATCH, MOVED):
            learner = transformer(seed, FEW, few) if who == SCRATCH else copy.deepcopy(model)
            learner.train()
            found = learn(dt.train(learner, few, short(FEW, quick), seed))
            found |= {"frames": len(few), "at_least": frames}
            runs.append(marks(who, learner, NEW, seed, found))
    return runs


def one_seed(seed: int, quick: bool) -> list[dict]:
    parts = []
    for name, work in (("specialists", specialists), ("generalists", generalists)):
        parts += once(f"{name}_{CONFIG.steps}_{seed}", lambda work=work: work(seed, quick), quick)
    return parts


def measure(quick: bool) -> dict:
    seeds = fresh_seeds(1 if quick else 5)
    runs = [run for seed in seeds for run in one_seed(seed, quick)]
    players = {game: round(float(data("expert", game).returns.mean()), 2) for game in (*GAMES, NEW)}
    return {"seeds": seeds, "players": players, "runs": runs}


def nats(runs: list[dict]) -> str:
    return mean_over_seeds([run["surprise"] for run in runs], ".3f", (0, np.inf))


def judge(result: dict) -> list[Goal]:
    old = by([run for run in result["runs"] if run["game"] != NEW], "game", "who")
    new = by([run for run in result["runs"] if run["game"] == NEW], "at_least", "who")
    goals, seeds = [], len(result["seeds"])
    for game in GAMES:
        title = f"{game}, {seeds} seeds, the recorded player {result['players'][game]:g}"
        for who in (SPECIALIST, SHARED, FULL):
            runs = old[game, who]
            words = f"{mean_of(runs, 'score')}; surprise {nats(runs)} nats"
            if who != SPECIALIST:
                change = paired(runs, old[game, SPECIALIST], "score")
                words += f"; less the specialist {verdict(change)}"
            what = f"{title}: return of the {who} ({runs[0]['steps']:,} updates)"
            goals.append(reported(what, words))
    for frames in FRAMES:
        pair = new[frames, MOVED], new[frames, SCRATCH]
        count = np.mean([run["frames"] for run in pair[0]])
        title = f"{NEW}, a new game, {count:,.0f} frames, {seeds} seeds"
        words = " and ".join(mean_of(runs, "score") for runs in pair)
        words += f"; difference {verdict(paired(*pair, 'score'))}; surprise "
        words += " and ".join(nats(runs) for runs in pair)
        change = paired(*pair, "surprise")
        words += f", difference {verdict(change, 'more surprised', 'less surprised', '.3f')}"
        goals.append(reported(f"{title}: return {MOVED} and {SCRATCH}", words))
    return goals

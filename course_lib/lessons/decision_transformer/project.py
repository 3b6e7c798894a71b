"""The project of lesson 13: a return-conditioned model that gets where no recorded walk got."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from course_lib.agents import decision_transformer
from course_lib.classroom.project import Project
from course_lib.rl import dataset, offline_table
from course_lib.rl.dataset import Dataset
from course_lib.worlds import crossing

ASKED, WALKERS = 10.0, 50
GOAL = crossing.PRIZES[crossing.PLACES["G"]]
CONFIG = decision_transformer.Config(
    width=32, heads=2, steps=300, batch_size=64, learning_rate=3e-3, warmup=10
)
Relabel = Callable[[Dataset], np.ndarray]


def reached(relabel: Relabel, seed: int) -> float:
    """The share of 50 walkers from A that a decision transformer, asked for 10, leads to the goal.

    It is trained on the record of the maze that ``seed`` draws, with ``relabel(data)`` (S,) in the
    place of the returns-to-go. Raises ValueError where that is not one finite number per row.
    """
    data = crossing.recorded(seed)
    labels = np.asarray(relabel(data), float)
    if labels.shape != (len(data),) or not np.isfinite(labels).all():
        raise ValueError(
            f"relabel must return one finite number for each of the {len(data)} rows, "
            f"got shape {labels.shape}"
        )
    data = with_labels(data, labels)
    model = decision_transformer.DecisionTransformer(data.obs_shape, data.num_actions, CONFIG, seed)
    for _ in decision_transformer.train(model, data, CONFIG, seed):
        pass
    walkers = crossing.crossing("A", WALKERS, 10_000 + seed)
    returns = decision_transformer.play(model, walkers, ASKED, WALKERS, seed=seed)
    return float((returns == GOAL).mean())


def with_labels(data: Dataset, labels: np.ndarray) -> Dataset:
    """The same record with rewards that make ``labels`` (S,) its returns-to-go."""
    following = np.where(data.ended, 0.0, np.append(labels[1:], 0.0))
    columns = (data.frames, data.actions, labels - following, data.terminated, data.truncated)
    return Dataset(*columns, data.obs_shape, data.num_actions)


def baseline(data: Dataset) -> np.ndarray:
    """The labels of the lesson: what the recorded walk went on to get."""
    return dataset.returns_to_go(data.rewards, data.ended)


def reference(data: Dataset) -> np.ndarray:
    """10 where the recorded action was the best of those seen there, else 0.

    Which one is best, dynamic programming says. The label no longer says what came of a walk but
    whether its step was right, and a right step is one on the way to 10: so walks are joined.
    """
    q = offline_table.dynamic_programming(data, gamma=0.95)
    states = data.obs(np.arange(len(data))).argmax(dim=1).numpy()
    best = q[states, data.actions] >= q[states].max(axis=1) - 1e-9
    return np.where(best, ASKED, 0.0)


PROJECT = Project(
    lesson="decision_transformer",
    question="Asked for 10 at A, the decision transformer of this lesson finds no recorded walk "
    "that got it, and hardly a walker reaches the goal. Dynamic programming does reach it, "
    "from the same record. **Change the labels, and nothing else, so that the transformer gets "
    "there too.** The model, its training and the question that it is asked stay as they are.",
    answer="`relabel(data)`. It gets the record, a `Dataset`, and returns one number for each row: "
    "what stands in the place of the return-to-go in training. Columns are `data.actions`, "
    "`data.rewards`, `data.terminated`, `data.ended`; walk k is rows `data.starts[k]` to "
    "`data.ends[k]`. Observations are one-hot: `data.obs(np.arange(len(data))).argmax(1)` is the "
    "number of each row's cell, and `crossing.CELLS` says where it lies. At play the model is "
    "asked for 10, less what has been earned. The map is not told; whoever writes it into the "
    "labels has learned nothing from the record.",
    begin="take `baseline` from `course_lib.lessons.decision_transformer.project` and "
    "`data = crossing.recorded(200)`. Print the labels of one walk from A and of one from B that "
    "meet at the crossing. Then measure the baseline on one seed, `task.measure(baseline, [200])`, "
    "and ask yourself which label the rows at A would need.",
    metric=reached,
    unit="of the walkers from A at the goal",
    rubric={
        "pass": "at least half of the walkers, as a mean over the ten seeds, and better than the "
        "baseline; your rule in words and as one formula.",
        "good": "at least 0.9 on average, and two controls: the walkers from B still reach the "
        "goal, and the model can still be asked for the small prize (if yours cannot, say what was "
        "lost).",
        "excellent": "a reason why your labels stitch and returns do not, in terms of the formula "
        "of Bayes; what is left of the transformer's part once dynamic programming has made the "
        "labels, measured against acting greedily on the same table; and a record, or a world "
        "with chance in it, on which your labels fail.",
    },
    baseline=baseline,
    reference=reference,
)

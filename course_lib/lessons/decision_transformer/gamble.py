"""Two doors: why asking for much may bring little, in closed form.

A safe door pays 5. A risky one pays 10 with chance 0.1, else nothing: 1 on average. Whoever is
asked for 10 and answers as the recorded players did who *got* 10 takes the risky door, since no one
got 10 behind the other. The return was luck, and the model takes it for a consequence (Paster et
al., arXiv 2205.15967; Brandfonbrener et al., arXiv 2206.01079).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from course_lib.rl import offline_table

Payoffs = Mapping[str, Mapping[float, float]]  # door -> what it pays -> with which chance

PAYOFFS: Payoffs = {"safe": {5.0: 1.0}, "risky": {10.0: 0.1, 0.0: 0.9}}
ASKED = (0.0, 5.0, 10.0)
EVEN = (0.5, 0.5)  # how often the recorded players chose each door


def likelihood(asked: float, payoffs: Payoffs = PAYOFFS) -> np.ndarray:
    """The chance that each door pays just what is asked for, (doors,)."""
    return np.array([chances.get(asked, 0.0) for chances in payoffs.values()])


def worth(payoffs: Payoffs = PAYOFFS) -> np.ndarray:
    """What each door pays on average, (doors,)."""
    return np.array([sum(pay * p for pay, p in door.items()) for door in payoffs.values()])


def choice(asked: float, prior: Sequence[float] = EVEN, payoffs: Payoffs = PAYOFFS) -> np.ndarray:
    """How an ideal return-conditioned model chooses, (doors,): Bayes' rule on endless games."""
    return offline_table.action_given_return(np.asarray(prior, float), likelihood(asked, payoffs))


def conditioned(
    asked: Sequence[float] = ASKED, prior: Sequence[float] = EVEN, payoffs: Payoffs = PAYOFFS
) -> dict[float, dict[str, float]]:
    """For each return asked for: the chance of each door, and what that "earns" on average."""
    found = {}
    for ask in asked:
        chances = choice(ask, prior, payoffs)
        doors = dict(zip(payoffs, chances.tolist(), strict=True))
        found[ask] = {**doors, "earns": float(chances @ worth(payoffs))}
    return found

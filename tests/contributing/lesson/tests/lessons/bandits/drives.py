"""The run that each exercise of this lesson drives, in small."""

import numpy as np

from course_lib.rl import bandits


def pull():
    return list(bandits.train(np.array([0.2, 0.8]), bandits.Config(steps=200), seed=0))


RUNS = {
    "updated_mean": (pull, "takes the last reward"),
    "confidence_bonus": (pull, "no root"),
    "choose": (pull, "takes the worst"),
    "regret": (pull, "sums the gaps"),
}

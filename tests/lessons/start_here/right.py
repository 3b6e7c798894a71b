"""Right answers in other styles: cells, each run after the first one alone."""

# ruff: noqa: B905, F811
# %% imports
import math

import numpy as np


# %% success_rate: counts in a loop
def success_rate(returns, goal):
    reached = 0
    for value in returns:
        if value >= goal:
            reached += 1
    return reached / len(returns)


# %% success_rate: the failures taken from 1
def success_rate(returns, goal):
    return 1 - np.count_nonzero(returns < goal) / returns.size


# %% success_rate: np.where, then the mean of ones and zeros
def success_rate(returns, goal):
    return np.where(returns < goal, 0.0, 1.0).mean()


# %% success_rate: the length of what a filter keeps
def success_rate(returns, goal):
    return len([value for value in returns.tolist() if not value < goal]) / len(returns)


# %% discounted_return: recursion from the front
def discounted_return(rewards, gamma):
    if not rewards:
        return 0.0
    return rewards[0] + gamma * discounted_return(rewards[1:], gamma)


# %% discounted_return: a dot product with powers of gamma
def discounted_return(rewards, gamma):
    return np.dot(rewards, gamma ** np.arange(len(rewards)))


# %% discounted_return: a running discount
def discounted_return(rewards, gamma):
    total, weight = 0, 1
    for reward in rewards:
        total += weight * reward
        weight *= gamma
    return total


# %% discounted_return: a polynomial in gamma
def discounted_return(rewards, gamma):
    return float(np.polyval(rewards[::-1], gamma))


# %% discounted_return: an exact sum, math.pow
def discounted_return(rewards, gamma):
    return math.fsum(r * math.pow(gamma, t) for t, r in zip(range(len(rewards)), rewards))

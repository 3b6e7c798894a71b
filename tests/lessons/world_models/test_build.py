"""Wrong searches that look right at first: each is told why, on five seeds; right ones pass."""

import numpy as np
import pytest

from course_lib.classroom.check import check
from course_lib.classroom.edits import Edit, apply
from course_lib.lessons.world_models.build import cross_entropy_plan

SEEDS = range(5)
DRAW = "plans = mean + std * noise"
REFIT = "mean, std = chosen.mean(0), chosen.std(0, correction=0)"
ADDS = "returns += gamma**step * alive * rewards"

WRONG = {  # another way to make a mistake: the mistake whose hint it gets, what is changed
    "variance as spread of the draw": ("takes the variance", DRAW, "plans = mean + std**2 * noise"),
    "the first of the plans": (
        *("keeps all plans", "returns.topk(elites).indices", "torch.arange(elites)"),
    ),
    "returns the mean that it was given": ("keeps all plans", REFIT, "return mean"),
    "the last step's reward alone": (
        *("counts one step only", "gamma**step", "(step == len(mean) - 1)"),
    ),
    "the first step's reward alone": ("counts one step only", "gamma**step", "(step == 0)"),
    "one step less": ("counts one step only", "range(len(mean))", "range(max(1, len(mean) - 1))"),
    "discounts as often as the step's number": (
        *("counts one step only", "gamma**step", "(gamma * step if len(mean) > 1 else 1)"),
    ),
    "discounts from the other end": (
        *("forgets the discount", "gamma**step", "gamma ** (len(mean) - step)"),
    ),
    "stops all when one has ended": (
        *("one end ends all", "alive = alive * ~ended", "if ended.any(): break"),
    ),
    "goes on until all have ended": (
        *("one end ends all", "alive = alive * ~ended", "alive = alive * ~ended.all()"),
    ),
    "one round": ("starts each round anew", "range(rounds)", "range(min(rounds, 1))"),
}  # fmt: skip

RIGHT = {  # a right search in other words: what is changed
    "as many as deviate by one less": ("correction=0", "correction=int(elites > 1)"),
    "sorts": ("returns.topk(elites).indices", "returns.argsort()[-elites:]"),
    "draws from the common stream": (", generator=generator", ""),
    "discounts once more": ("gamma**step", "gamma ** (step + 1)"),
    "stops when all have ended": (
        "alive = alive * ~ended",
        "alive = alive * ~ended\n            if not alive.any(): break",
    ),
    "a mask of truth values": ("alive = alive * ~ended", "alive = (alive > 0) & ~ended"),
    "takes part in the round itself": (DRAW, DRAW + "; plans[0] = mean"),
    "the same noise in every round": (
        "noise = torch.randn((population, *mean.shape), generator=generator)",
        "noise = torch.randn((population, *mean.shape)) if _ == 0 else noise",
    ),
    "noise and its mirror image": (
        DRAW,
        "half = noise[: population // 2]; plans = mean + std * torch.cat([half, -half])",
    ),
    "a little spread is left": (REFIT, REFIT + " + 1e-3"),
    "repeats the state": ("state.expand(population, -1)", "state[None].repeat(population, 1)"),
    "adds copies": (ADDS, "returns = returns + gamma**step * (alive * rewards)"),
}  # fmt: skip


@pytest.mark.parametrize("title", WRONG)
def test_it_is_refused_on_every_seed(title):
    mistake, *change = WRONG[title]
    wrong = apply(cross_entropy_plan.reference, Edit(title, (tuple(change),), ""))
    for seed in SEEDS:
        assert check(wrong, cross_entropy_plan, seed).mistake == mistake, seed


@pytest.mark.parametrize("mistake", cross_entropy_plan.mistakes, ids=lambda mistake: mistake.name)
def test_each_mistake_fails_first_at_the_probe_that_isolates_it(mistake):
    for seed in SEEDS:
        found = check(mistake.function, cross_entropy_plan, seed)
        probes = cross_entropy_plan.cases(np.random.default_rng(seed))
        [probe] = [probe for probe in probes if probe.isolates == mistake.name]
        assert (found.mistake, found.case) == (mistake.name, probe.name), seed


@pytest.mark.parametrize("title", RIGHT)
def test_a_right_search_in_other_words_passes(title):
    right = apply(cross_entropy_plan.reference, Edit(title, (RIGHT[title],), ""))
    for seed in SEEDS:
        verdict = check(right, cross_entropy_plan, seed)
        assert verdict.status == "right", (seed, verdict)


def test_the_reference_passes_on_many_seeds():
    for seed in range(100, 120):
        assert check(cross_entropy_plan.reference, cross_entropy_plan, seed).status == "right", seed


def test_it_plans_for_one_state_and_says_so():
    def passes_the_state_alone(model, state, mean, *_):
        return model(state, mean)[0]

    found = check(passes_the_state_alone, cross_entropy_plan)
    assert "a state and an action for each plan" in found.reason, found

"""Exercises of lesson 12: the block mask, reward and end, the next frame, returns in a dream."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from course_lib.classroom.cases import bits, case
from course_lib.classroom.check import Case, Exercise
from course_lib.world_models import returns, sequence

# --- Who may look at whom ----------------------------------------------------------------------


def _mask_cases(rng: np.random.Generator) -> list[Case]:
    growing = bits("xx....", "xx....", "xxxx..", "xxxx..", "xxxxxx", "xxxxxx")
    parted = bits("xx....", "xx....", "..xx..", "..xx..", "..xxxx", "..xxxx")
    both = torch.stack([parted, growing])
    split = bits("x...", "xx..", "..x.", "..xx")[None]
    places, steps = int(rng.integers(2, 4)), 5
    ended = rng.random((3, steps)) < 0.3
    ended[0, 1] = ended[1, 0] = ended[1, 2] = True  # one end before the last step, and two
    expected = np.zeros((3, steps * places, steps * places), bool)
    for b, query, key in np.ndindex(*expected.shape):  # pair by pair
        t, s = query // places, key // places
        expected[b, query, key] = s <= t and not ended[b, s:t].any()
    return [
        case("three steps of two places, one episode", (bits("..."), 2), growing[None]),
        case("the second step ends an episode; the third starts another", (bits(".x.."), 1), split),
        case(
            "two windows of two places, one of them with an end at once",
            (bits("x..", "..x"), 2),
            both,
        ),
        case("three random windows", (ended, places), expected),
    ]


block_causal_mask = Exercise(
    reference=sequence.block_causal_mask,
    cases=_mask_cases,
    edits="""
    causal by place: `.repeat_interleave(places, 2)` becomes `.repeat_interleave(places,
      2).tril()`. Your mask is that of text: each place sees the places before it. All places of one
      step are known at once here, so a place may see the whole of its own block. Compare *steps*,
      `place // places`, not places.

    tiles the steps: `allowed.repeat_interleave(places, 1).repeat_interleave(places, 2)` becomes
      `allowed.repeat(1, places, places)`. You laid copies of the mask of steps side by side. The
      places of a step follow one another in the sequence, so each *entry* becomes a block:
      `repeat_interleave`.

    sees the future: `earlier & (` becomes `(`. A step sees the steps after it. The model would
      copy the answer from the future, and in the dream there is none: keep only `key's step <=
      query's step`.

    ignores ends: `earlier & (episode[:, :, None] == episode[:, None, :])` becomes
      `earlier.expand(len(ended), -1, -1)`. Your steps look back across the end of an episode. The
      board was set up anew there, so what came before says nothing: compare episodes as well.

    the end moved out: ` - ended.long()` goes. You put the ending step into the *next* episode. It
      is the last of its own, and its frame depends on those before: count only the ends before a
      step, `ended.cumsum(1) - ended`.

    sees only itself: `step[:, None] >= step` becomes `step[:, None] == step`. Each step sees its
      own frame alone, so it cannot know the last action, which the game may repeat. Let it see the
      earlier steps of its episode, too.

    not itself: `step[:, None] >= step` becomes `step[:, None] > step`. A step does not see
      itself: `<=`, not `<`. The present frame and action matter most.

    keys and queries exchanged: `step[:, None] >= step` becomes `step[:, None] <= step`. Your mask
      is mirrored: the past sees the future. Rows are queries, columns are keys.

    True where forbidden: `return allowed` becomes `return ~allowed`. Your mask is True where
      looking is forbidden. Here, as everywhere in the library, a mask is named for what it keeps:
      True where the query may look.
    """,
    hints=(
        "Number the episodes: `ended.long().cumsum(1) - ended.long()` counts the ends before each "
        "step. Two steps belong together where their numbers agree.",
        "Build the mask for steps first, (B, T, T): same episode, and `step[:, None] >= step`.",
        "A step becomes a block: `repeat_interleave(places, 1).repeat_interleave(places, 2)`.",
    ),
)


# --- What a step earned, and whether it was the last -------------------------------------------


def _event_cases(rng: np.random.Generator) -> list[Case]:
    log = np.log
    # Two steps of two places; the scores after the first place of each are bait.
    scores = log([[[0.9, 0.1], [0.25, 0.75], [0.2, 0.8], [0.5, 0.5]]])
    hand = (scores, [[3, 0, -2, log(3)]], torch.tensor([[1, 0]]))  # ends: 0.95, 1/2, 0.12, 3/4
    last, reset = (*hand, bits(".x"), bits("xx")), (*hand, bits("xx"), bits(".x"))
    first, second = -log(0.75) - log(0.5), -log(0.5) - log(0.75)
    both, second = np.array((first + second) / 2), np.array(second)
    batch, steps, places, kinds = 2, 4, 3, 3
    logits = rng.normal(size=(batch, steps * places, kinds)) * 2
    ends = rng.normal(size=(batch, steps * places)) * 2
    rewards = rng.integers(kinds, size=(batch, steps))
    terminated = rng.random((batch, steps)) < 0.4
    valid = np.ones((batch, steps), bool)
    valid[0, int(rng.integers(1, 3))] = valid[1, 1] = valid[1, 2] = False
    total = 0.0
    for b, t in zip(*np.nonzero(valid), strict=True):  # one by one, in double precision
        at = places * t + places - 1
        row, chance = logits[b, at], 1 / (1 + np.exp(-ends[b, at]))
        total += log(np.exp(row).sum()) - row[rewards[b, t]]
        total -= log(chance if terminated[b, t] else 1 - chance)
    drawn, expected = (logits, ends, rewards, terminated, valid), np.array(total / valid.sum())
    return [
        case("two steps of a frame token and an action, the second one ends", last, both),
        case("the first step is the reset between two episodes: it counts nothing", reset, second),
        case("two random windows", drawn, expected, atol=1e-5),
    ]


event_nll = Exercise(
    reference=sequence.event_nll,
    differentiated="reward_logits end_logits",
    cases=_event_cases,
    edits="""
    at the first place: `slice(places - 1, None, places)` becomes `slice(0, None, places)`. You
      read the first place of each step. It has not seen the action yet, and without it nobody knows
      whether the paddle will be there: read the *last* place.

    before the action: `slice(places - 1, None, places)` becomes `slice(places - 2, None,
      places)`. You read the last token of the frame, the place before the action. Which reward
      comes depends on what is done: read one place further.

    one step ahead: `reward_logits[:, of_action]` becomes `reward_logits[:, of_action][:, :-1]`,
      `end_logits[:, of_action]` becomes `end_logits[:, of_action][:, :-1]`, `by_class, rewards`
      becomes `by_class, rewards[:, 1:]`, `terminated.to` becomes `terminated[:, 1:].to`, `valid.to`
      becomes `valid[:, 1:].to`. You compared the outputs of step t with the reward and end of step
      t + 1. Rewards here belong to the step that earned them, so nothing is shifted.

    one step behind: `reward_logits[:, of_action]` becomes `reward_logits[:, of_action][:, 1:]`,
      `end_logits[:, of_action]` becomes `end_logits[:, of_action][:, 1:]`, `by_class, rewards`
      becomes `by_class, rewards[:, :-1]`, `terminated.to` becomes `terminated[:, :-1].to`,
      `valid.to` becomes `valid[:, :-1].to`. You compared the outputs of step t with the reward and
      end of step t - 1, which the model may have seen already. Nothing is shifted here.

    counts every step: `valid.to(reward.dtype)` becomes `torch.ones_like(reward)`. `valid` changes
      nothing in your version. A reset between two episodes has no action, no reward and no end:
      leave it out.

    divides by all steps: `kept.sum().clamp(min=1)` becomes `kept.numel()`. You left the invalid
      steps out of the sum, but still divide by their number. Divide by the number of valid steps.

    sums up: ` / kept.sum().clamp(min=1)` goes. You summed over all steps. Then a longer window
      has a larger loss and a larger step: take the mean over the valid ones.

    a mean of means: `((reward + end) * kept).sum() / kept.sum().clamp(min=1)` becomes
      `(((reward + end) * kept).sum(1) / kept.sum(1).clamp(min=1)).mean()`. You took a mean for each
      window and then their mean. A step of a window with few valid ones counts more then: divide
      the sum over all windows by the number of all valid steps.

    only the ends that came: `(reward + end)` becomes `(reward + end * terminated)`. Your end head
      learns at the ends alone, so it may claim an end everywhere. That a step did *not* end was a
      prediction, too: its surprise is -log(1 - p).

    learns who survives: `terminated.to` becomes `(~terminated).to`. Your end head learns the
      opposite: the logit is that of *ending*, so its target is `terminated`, not `1 - terminated`.

    averages the places: `reward_logits[:, of_action]` becomes `reward_logits.unflatten(1, (steps,
      places)).mean(2)`, `end_logits[:, of_action]` becomes `end_logits.unflatten(1, (steps,
      places)).mean(2)`. You took the mean over the K places of a step. Those before the action
      cannot know: read the last place alone.

    places before steps: `reward_logits[:, of_action]` becomes `reward_logits.unflatten(1, (places,
      steps))[:, -1]`, `end_logits[:, of_action]` becomes `end_logits.unflatten(1, (places,
      steps))[:, -1]`. You cut the sequence into K rows of T. The K places of a step follow one
      another, so the shape is (B, T, K).

    no minus: `(reward + end) * kept` becomes `-(reward + end) * kept`. Your sign is wrong: -log p
      is never negative. A loss of the other sign would make the truth *less* likely.

    half of both: `(reward + end) * kept` becomes `(reward + end) / 2 * kept`. You averaged the
      two surprises. A step's surprise about two things is their *sum*.
    """,
    hints=(
        "With K places a step, the action of step t stands at place K * t + K - 1. "
        "`K = reward_logits.shape[1] // rewards.shape[1]`, then slice: `[:, K - 1 :: K]`.",
        "`F.cross_entropy` wants the classes in dimension 1 (`transpose(1, 2)`), and "
        '`reduction="none"` keeps one number per step. For the end: '
        "`F.binary_cross_entropy_with_logits` with `terminated.float()`.",
        "`((reward + end) * valid).sum() / valid.sum()`",
    ),
)


# --- One possible next frame -------------------------------------------------------------------


def _frames(*rows: str) -> Tensor:
    """Frames of one row as pictures: "x" is a ball."""
    return bits(*rows)[:, None, None].to(torch.uint8)


@dataclass(frozen=True)
class _Futures:
    """A decoder: token v becomes the v-th row of its cells' logits."""

    logits: Tensor

    def __call__(self, tokens: Tensor) -> Tensor:
        return self.logits[tokens]


def _futures(pictures: Tensor) -> _Futures:
    """A decoder of these pictures, surer of balls than of their lack."""
    return _Futures(7 * pictures.float() - 1)


def _sample_cases(rng: np.random.Generator) -> list[Case]:
    logs, unequal = np.log([[0.4, 0.35, 0.25]] * 4), np.log([[0.3, 0.5, 0.2]] * 2)
    ball = _futures(_frames("x..", ".x.", "..x"))
    batch, kinds, heat = 8, 5, float(rng.uniform(1.5, 3.0))
    logits = rng.normal(size=(batch, kinds)) * 2
    pictures = rng.random((kinds, 2, 3, 3)) < 0.4
    pictures[:, 0, 0] = np.eye(kinds, dtype=bool)[:, :3]  # no two futures are alike
    pictures[:, 0, 1] = np.eye(kinds, dtype=bool)[:, 2:]
    draws, expected = rng.random(batch), np.zeros((batch, 2, 3, 3), np.uint8)
    for b in range(batch):  # walk along the wheel of fortune
        weights = np.exp(logits[b] / heat)
        left = draws[b] * weights.sum()
        for v in range(kinds):
            left -= weights[v]
            if left < 0:
                expected[b] = pictures[v]
                break
    drawn = (logits, _futures(torch.tensor(pictures)), draws, heat)
    # 41 codes, equally likely: in float32 their probabilities add up to 0.99999994, the largest
    # draw there is. The cells of code v are its binary digits; a 42nd picture stands for no code.
    ends, codes = [0.0, 0.3, 0.5, 1 - 2.0**-24], torch.tensor([0, 12, 20, 40])
    binary = (torch.arange(42)[:, None] >> torch.arange(6)) % 2
    faint = torch.where(binary == 1, 0.5, torch.tensor([0, -0.5] * 3))[:, None, None]
    return [
        case(
            "a ball that goes left, stays or goes right",
            (logs, ball, [0.1, 0.5, 0.8, 0.99], 1.0),
            _frames("x..", ".x.", "..x", "..x"),
        ),
        case(
            "temperature 0: the likeliest token, whatever the draw",
            (unequal, ball, [0.1, 0.99], 0.0),
            _frames(".x.", ".x."),
        ),
        case(  # weights 0.16, 0.1225, 0.0625: the first token has 0.464 of them
            "temperature 0.5: the likelier ones still more often",
            (logs[:3], ball, [0.43, 0.38, 0.95], 0.5),
            _frames("x..", "x..", "..x"),
        ),
        case("eight random states", drawn, expected),
        case(
            "41 equal codes, draws up to the largest below 1, cells that are barely on",
            (torch.zeros(4, 41), _Futures(faint), ends, 1.0),
            binary[codes][:, None, None].to(torch.uint8),
        ),
    ]


sample_frame = Exercise(
    reference=sequence.sample_frame,
    cases=_sample_cases,
    edits="""
    always the likeliest: `temperature == 0` becomes `True`. Your version takes the likeliest
      future every time, so nothing rare ever happens in the dream. Use the draw: only at
      temperature 0 the likeliest wins.

    forgets the temperature: `(chance_logits / temperature)` becomes `chance_logits`. The
      temperature changes nothing in your version. Divide the logits by it.

    temperature multiplies: `chance_logits / temperature` becomes `chance_logits * temperature`.
      You multiplied the logits by the temperature. A *high* temperature makes the tokens more
      alike: divide.

    divides by zero: `temperature == 0` becomes `False`. At temperature 0 your version
      always comes to the first token, which is what is left after a division by zero. Take the
      likeliest token then.

    one token too far: `.sum(-1)` becomes `.sum(-1) + 1`. Your token is one too high. If the first
      cumulative probability already exceeds the draw, no token has been passed, and that is token
      0.

    past the last code: `tokens.clamp(max=chance_logits.shape[-1] - 1)` becomes `tokens`. Your
      token can lie one past the last code. In float32 the last sum may be 0.9999999, and a draw
      just as large. A dream of millions of steps meets one: keep it at most V - 1,
      `tokens.clamp(max=chance_logits.shape[-1] - 1)`.

    back to the first code: `(cumulative <= draws[:, None]).sum(-1)` becomes `(cumulative >
      draws[:, None]).float().argmax(-1)`. `argmax` says 0, the first code, where no sum exceeds the
      draw. In float32 the last sum may be 0.9999999, and a draw just as large: count the marks that
      it has passed, and keep the number at most V - 1.

    the border of a probability: `decode(tokens) > 0` becomes `decode(tokens) > 0.5`. 0.5 is the
      border of a probability. These are logits: their border is 0.

    tosses the cells: `decode(tokens) > 0` becomes `decode(tokens).sigmoid() > draws[:, None, None,
      None]`. You drew a token, and then tossed each cell as well. The draw is spent on the token;
      with the future known, every cell is: 1 where its logit is above 0.

    returns logits: `(decode(tokens) > 0).to(torch.uint8)` becomes `decode(tokens)`. You returned
      the decoder's logits. A frame is 1 where the logit is above 0, else 0, as uint8.

    averages the futures: `(decode(tokens) > 0)` becomes `(torch.einsum("bv,vchw->bchw",
      (chance_logits / max(temperature, 1e-6)).softmax(-1),
      decode(torch.arange(chance_logits.shape[-1])).sigmoid()) > 0.5)`. You averaged all futures and
      kept the cells above one half. Of a ball that goes left or right nothing is left then: draw
      *one* token, and decode that.

    averages the logits: `(decode(tokens) > 0)` becomes `(torch.einsum("bv,vchw->bchw",
      (chance_logits / max(temperature, 1e-6)).softmax(-1),
      decode(torch.arange(chance_logits.shape[-1]))) > 0)`. You mixed the logits of all futures. The
      mixture is the logit of no future at all: draw *one* token, and decode that.

    decides cell by cell: `(decode(tokens) > 0)` becomes `(torch.einsum("bv,vchw->bchw",
      (chance_logits / max(temperature, 1e-6)).softmax(-1),
      decode(torch.arange(chance_logits.shape[-1])).sigmoid()) > draws[:, None, None, None])`. You
      compared each cell's own probability with the draw. Cells that belong to different futures can
      come on together: half-balls. One token decides for all cells.
    """,
    hints=(
        "Probabilities: `(chance_logits / temperature).softmax(-1)`. Their `cumsum(-1)` are the "
        "marks along a wheel of fortune.",
        "The token is the number of marks that the draw has passed: "
        "`(cumulative <= draws[:, None]).sum(-1)`, at most V - 1, since rounded numbers may add up "
        "to a little less than 1. At temperature 0: `argmax(-1)`.",
        "`(decode(tokens.clamp(max=chance_logits.shape[-1] - 1)) > 0).to(torch.uint8)`",
    ),
)


# --- Returns of a dream ------------------------------------------------------------------------


def _column(*numbers: float) -> np.ndarray:
    return np.array(numbers, dtype=float)[:, None]


def _return_cases(rng: np.random.Generator) -> list[Case]:
    dream = (_column(1, 0, 4), _column(6, 2, 10))
    short = (_column(1, 2), _column(10, 20), _column(0.5, 1), 0.9, 0.0)
    steps, dreams, gamma, lam = 5, 3, float(rng.uniform(0.8, 0.98)), float(rng.uniform(0.6, 0.9))
    rewards, values = rng.normal(size=(2, steps, dreams)) + 1
    alive = rng.uniform(0.2, 0.95, size=(steps, dreams))
    expected = np.zeros((steps, dreams))
    for t, i in np.ndindex(steps, dreams):  # the mean over lengths k of the k-step returns
        reach = 1.0
        for k in range(t, steps):
            expected[t, i] += reach * rewards[k, i]
            reach *= gamma * alive[k, i]
            expected[t, i] += reach * (1.0 if k == steps - 1 else 1 - lam) * values[k, i]
            reach *= lam
    drawn = (rewards, values, alive, gamma, lam)
    return [
        case(  # from the end: 4 + 0.5 * 10 = 9; 0 + 0.5 * (0.5 * 2 + 0.5 * 9) = 2.75; ...
            "three steps that surely go on, gamma and lam one half",
            (*dream, _column(1, 1, 1), 0.5, 0.5),
            _column(1 + 0.5 * (3 + 1.375), 2.75, 9),
        ),
        case(  # 4 + 0.5 * 0.5 * 10 = 6.5; nothing after step 1; 1 + 0.5 * 0.8 * (3 + 0)
            "the second step is the end; the others go on with probability 0.8 and 0.5",
            (*dream, _column(0.8, 0, 0.5), 0.5, 0.5),
            _column(2.2, 0, 6.5),
        ),
        case("lam 0: only the next value counts", short, _column(1 + 0.9 * 0.5 * 10, 2 + 0.9 * 20)),
        case("three random dreams", drawn, expected, atol=1e-5),
    ]


dream_returns = Exercise(
    reference=returns.dream_returns,
    cases=_return_cases,
    edits="""
    ends on nothing: `following = next_values[-1]` becomes `following =
      torch.zeros_like(next_values[-1])`. Your last return ends on 0 instead of the last value. The
      dream stops at its horizon, the game would not: start the recursion with `next_values[-1]`.

    the last value itself: `returns[t] = following` becomes `returns[t] = following = following if
      t < len(rewards) - 1 else next_values[t]`. You returned the last next value itself. It stands
      in for the return *after* the last step; that step's own reward, discount and continue
      probability still apply.

    lives for ever: ` * continues[t]` goes. `continues` changes nothing in your version. A step
      that probably ends the episode has little future: multiply what lies ahead by it.

    goes on where it ends: `continues[t]` becomes `(1 - continues[t])`. You multiplied the future
      by the probability of *ending*. `continues` already is the probability of going on: it stands
      where `1 - terminated` stood.

    the step before decides: `continues[t]` becomes `(continues[t - 1] if t else 1.0)`. You used
      the continue probability of the step before. Whether there is a state after step t is what
      `continues[t]` says.

    takes the reward away, too: `rewards[t] + gamma * continues[t] * ahead` becomes `continues[t]
      * (rewards[t] + gamma * ahead)`. You multiplied the reward by the continue probability as
      well. The reward of a step is earned even if it is the last: only what lies *ahead* may not
      come.

    discounts the reward: `rewards[t] + gamma * continues[t] * ahead` becomes `gamma * (rewards[t]
      + continues[t] * ahead)`. You discounted the reward of the step itself. It comes at once:
      gamma belongs to what lies ahead.

    the value for certain: `gamma * continues[t] * ahead` becomes `gamma * ((1 - lam) *
      next_values[t] + lam * continues[t] * following)`. Only the return of the next step is
      multiplied by `continues` in your version. If the episode ends there is no next state at all,
      so its value may not come either: multiply both.

    the return for certain: `gamma * continues[t] * ahead` becomes `gamma * ((1 - lam) *
      continues[t] * next_values[t] + lam * following)`. Only the next value is multiplied by
      `continues` in your version. If the episode ends nothing comes after it, neither value nor
      return: multiply both.

    an advantage: `returns[t] = following` becomes `returns[t] = following - (next_values[t - 1] if
      t else 0)`. You took off the value of the state that the step began in. What is left is an
      advantage, as GAE gives it. Asked for is the return itself: nothing is taken off.

    lam the wrong way round: `(1 - lam) * next_values[t] + lam * following` becomes `lam *
      next_values[t] + (1 - lam) * following`. `lam` and `1 - lam` are exchanged: lam 0 must give
      the one-step target, which trusts the next value alone.

    value of the state after: `next_values[t]` becomes `next_values[min(t + 1, len(rewards) -
      1)]`. You took the value one row too late. `next_values[t]` already is the value of the state
      that step t led to.

    values inside the chain left out: `(1 - lam) * next_values[t] + lam * following` becomes `lam
      * following`. The values on the way are missing: a share of `1 - lam` of each step's future is
      `next_values[t]`.
    """,
    hints=(
        "Go backwards in time. Keep `following`, the return of the row below; at first it is "
        "`next_values[-1]`.",
        "What lies ahead of step t: `(1 - lam) * next_values[t] + lam * following`.",
        "`following = rewards[t] + gamma * continues[t] * ahead`",
    ),
)


# --- How much an imagined step counts ----------------------------------------------------------


def _weight_cases(rng: np.random.Generator) -> list[Case]:
    one, ends = [[0.5], [0.4], [0.1]], [[1, 1], [0, 1], [1, 0]]
    continues = rng.uniform(0.3, 0.95, size=(4, 3))
    expected = np.ones((4, 3))
    for t, i in np.ndindex(4, 3):
        for k in range(t):
            expected[t, i] *= continues[k, i]
    return [
        case("one dream that may end at each step", (one,), [[1], [0.5], [0.2]]),
        case(
            "drawn ends: what comes after an end counts nothing", (ends,), [[1, 1], [1, 1], [0, 1]]
        ),
        case("three random dreams", (continues,), expected),
    ]


continue_weights = Exercise(
    reference=returns.continue_weights,
    cases=_weight_cases,
    edits="""
    counts its own end: `return reached` becomes `return continues.cumprod(0)`. Your weight of a
      step contains its own continue probability. The step that ends an episode happened, and it
      teaches the most: multiply only those *before* it.

    its own alone: `return reached` becomes `return continues`. You returned `continues` itself,
      the probability that the game goes on *after* a step. A weight says how likely the step is
      reached: the product of those before it.

    looks back one step: `.cumprod(0)` goes. You looked back one step only. To be reached, *all*
      steps before must have gone on: their product.

    nothing at first: `return reached` becomes `return 0 * reached`. Your first weight is 0, and
      so are all after it. The first state is a real one: its weight is 1.

    the last one comes first: `reached[1:] = continues[:-1].cumprod(0)` becomes `reached =
      continues.cumprod(0).roll(1, 0)`. You moved the product by one row with `roll`, which puts the
      last row at the top. The first weight is 1, and the last product is not needed.

    along the wrong axis: `reached[1:] = continues[:-1].cumprod(0)` becomes `reached[:, 1:] =
      continues[:, :-1].cumprod(1)`. Your product runs over the dreams. Time is dimension 0.

    counts the way to the end: `return reached` becomes `return
      continues.flip(0).cumprod(0).flip(0)`. You multiplied the steps from here to the horizon. What
      counts is whether this step is *reached*: those before it.

    weights the dead: `continues[:-1]` becomes `(1 - continues[:-1])`. You multiplied the
      probabilities of *ending*. A step is reached by going on.
    """,
    hints=(
        "The first weight is 1, the second is `continues[0]`, the third "
        "`continues[0] * continues[1]`.",
        "`continues[:-1].cumprod(0)` holds all weights but the first.",
    ),
)

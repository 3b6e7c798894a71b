"""Exercises of lesson 14: what a sentence does to features, sentence vectors, hands, and luck."""

from __future__ import annotations

import numpy as np

from course_lib.agents import instructions
from course_lib.classroom.cases import case
from course_lib.classroom.check import Case, Exercise
from course_lib.lessons.language_agents import build
from course_lib.worlds import commands, grid
from course_lib.worlds.sentences import COLOURS, GOALS, KINDS, VERBS_OF, Goal

# --- A scale and a shift for each feature --------------------------------------------------------


def _film_cases(rng: np.random.Generator) -> list[Case]:
    def looped(name: str, *shape: int) -> Case:
        # Ground truth: number by number. The first index is the row, the last one the channel.
        features, right = rng.normal(size=shape), np.zeros(shape)
        scale, shift = rng.normal(size=(2, shape[0], shape[-1]))
        for at in np.ndindex(shape):
            own = at[0], at[-1]
            right[at] = features[at] + features[at] * scale[own] + shift[own]
        return case(name, (features, scale, shift), right)

    return [
        case("3 * (1 + 2) + 10", ([[3]], [[2]], [[10]]), [[19]]),
        case("a sentence that says 0", ([[1.5, -2]], [[0, 0]], [[0, 0]]), [[1.5, -2]]),
        case("a scale of -1 hides a feature", ([[5, 5]], [[-1, 0]], [[0, 1]]), [[0, 6]]),
        looped("four rows of three features", 4, 3),
        looped("as many places as rows and channels", 3, 3, 3),
        looped("four rows, two places, three channels", 4, 2, 3),
        looped("one row of five places", 1, 5, 2),
    ]


film = Exercise(
    reference=instructions.film,
    differentiated="features scale shift",
    cases=_film_cases,
    edits="""
    forgets the 1: `(1 + scale)` becomes `scale`. You multiply by the scale itself. A sentence that
        says 0 then wipes out all that is seen: multiply by 1 + scale.

    shifts before it scales: `features * (1 + scale) + shift` becomes
        `(features + shift) * (1 + scale)`. Your shift is scaled as well. First multiply, then add.

    leaves out the shift: ` + shift` goes. The shift is missing. A feature that is 0 can be switched
        on by a shift alone.

    a scale for each place: `scale.unsqueeze(1), shift.unsqueeze(1)` becomes
        `scale.unsqueeze(2), shift.unsqueeze(2)`. Each *place* has a scale of its own, and all
        channels share it. It is the other way round: axis 1 of (B, P, C) is the one to share.

    mixes up the rows: `scale.unsqueeze(1), shift.unsqueeze(1)` becomes `scale, shift`. torch lines
        up (B, C) with (B, P, C) from the right, so that the scale of *row* b goes to *place* b of
        every row. Give it an axis of places first.
    """,
    hints=(
        "With features (B, H) it is one line. What should come out when scale and shift are 0?",
        "With features (B, P, C), scale and shift (B, C) need an axis of places between the two: "
        "`scale.unsqueeze(1)` is (B, 1, C).",
        "`features * (1 + scale) + shift`, after both got that axis if `features.dim() == 3`.",
    ),
)


# --- Directions made equally long ----------------------------------------------------------------


def _drawn_vectors(rng: np.random.Generator, count: int, numbers: int, kept: int) -> tuple:
    """Vectors (S, D), the variances along their K main directions, and those, (D, K), one a column.

    By eigenvectors of the covariance, in double precision. Drawn again where two variances, or the
    two largest entries of a direction, are nearly alike.
    """
    while True:
        turned, _ = np.linalg.qr(rng.normal(size=(numbers, numbers)))
        vectors = rng.normal(size=(count, numbers)) * 0.7 ** np.arange(numbers) @ turned
        variance, columns = np.linalg.eigh(np.cov(vectors.T, bias=True))
        variance, columns = variance[: -kept - 2 : -1], columns[:, : -kept - 1 : -1]
        second, largest = np.sort(abs(columns), axis=0)[-2:]
        if (variance[:-1] > 1.3 * variance[1:]).all() and (largest > second + 0.05).all():
            signs = [np.sign(column[abs(column).argmax()]) for column in columns.T]
            return vectors + rng.normal(size=numbers), variance[:kept], columns * signs


def _whitening_cases(rng: np.random.Generator) -> list[Case]:
    def drawn(name: str, count: int, numbers: int, kept: int, shrink: float) -> Case:
        vectors, variance, columns = _drawn_vectors(rng, count, numbers, kept)
        right = vectors.mean(0), columns / np.sqrt(variance + shrink * variance.mean())
        return case(name, (vectors, kept, shrink), right, rtol=1e-3, atol=1e-4)

    # A rectangle: variance 9 along (0.6, 0.8), variance 1 along (0.8, -0.6).
    columns, mean = np.array([[0.6, 0.8], [0.8, -0.6]]), np.array([10.0, -5.0])
    corners = mean + np.array([[3, 1], [3, -1], [-3, 1], [-3, -1]]) @ columns

    def rectangle(name: str, kept: int, shrink: float, *spread: float) -> Case:
        right = mean, columns[:, :kept] / spread
        return case(name, (corners, kept, shrink), right, rtol=1e-4, atol=1e-5)

    return [
        rectangle("a rectangle: spread 3 and 1", 2, 0.0, 3, 1),
        rectangle("variances 9 and 1, to each 1.4 * 5", 2, 1.4, 4, 8**0.5),
        rectangle("the main direction alone: 9 + 0.44 * 9", 1, 0.44, 3.6),
        drawn("nine sentences, the largest entry of a column above 0", 9, 4, 2, 0.1),
        drawn("fewer sentences than numbers", 5, 7, 2, 0.2),
        drawn("all directions", 12, 4, 4, 0.5),
        drawn("forty sentences", 40, 6, 5, float(rng.uniform(0.05, 0.3))),
    ]


whitening = Exercise(
    reference=instructions.whitening,
    cases=_whitening_cases,
    edits="""
    not centred: `svd(vectors - mean` becomes `svd(vectors`. You decompose the vectors as they are.
        Their mean is what all sentences share, and it becomes your first direction: subtract it.

    divides by the variance: `(variance + shrink * variance.mean()).sqrt()` becomes
        `(variance + shrink * variance.mean())`. You divide by the variance. A spread is its square
        root: a variance of 9 means that vectors lie about 3 from the mean.

    forgets how many sentences: `** 2 / len(vectors)` becomes `** 2`. A squared singular value is a
        *sum* over the sentences. A variance is its mean: divide by S.

    one sentence less: `/ len(vectors)` becomes `/ (len(vectors) - 1)`. You divide by S - 1, which
        estimates the variance of what was not seen. Asked is that of these S sentences.

    shrinks after the root: `(variance + shrink * variance.mean()).sqrt()` becomes
        `(variance.sqrt() + shrink * variance.mean())`. You add the share of the mean variance to
        the spread. Add it to the variance, then take the root.

    shrinks by the largest: `variance.mean()` becomes `variance.max()`. You add a share of the
        largest variance. Asked is a share of their mean.

    shrinks by all: `variance.mean()` becomes `(singular**2).mean() / len(vectors)`. You took the
        mean over all directions. Asked is that of the K variances which are kept.

    never shrinks: ` + shrink * variance.mean()` goes. `shrink` changes nothing. A direction that is
        hardly used would be blown up to full size, and what lies in it is noise.

    turns and does not divide: ` / spread` goes. You turn the vectors and leave them as long as they
        were. Divide each direction by its spread.

    keeps the least: `directions[:components]` becomes `directions.flip(0)[:components]`,
        `singular[:components]` becomes `singular.flip(0)[:components]`. Your first direction is the
        one with the least variance. (`eigh` sorts upwards, `svd` downwards.)

    signs as they come: `(directions * largest.sign())` becomes `directions`. u and -u are the same
        direction, and a decomposition may return either. Turn each so that its largest entry, by
        size, is positive.

    lies on its side: `(directions * largest.sign()).T / spread` becomes
        `directions * largest.sign() / spread[:, None]`. Your transform has a direction in each row,
        (K, D). `(x - mean) @ transform` needs one in each column, (D, K).
    """,
    hints=(
        "Subtract the mean. `torch.linalg.svd(centred, full_matrices=False)` returns three parts; "
        "the rows of the last are directions, the one with the most variance first.",
        "The variance along direction k is `singular[k] ** 2 / len(vectors)`. Add `shrink` times "
        "the mean of the K variances to each, and take the root: that is the spread.",
        "Multiply each direction by the sign of its entry of largest size, turn the rows into "
        "columns with `.T`, and divide by the spread: (D, K) / (K,).",
    ),
)


# --- Hands ---------------------------------------------------------------------------------------


def _one_room(ahead: int, carried: int, action: int) -> tuple[int, ...]:
    """A room on its own, with the kind of thing read off its number; what it is like afterwards."""
    kind = list(grid.KINDS)[ahead // 18]
    if action == grid.PICKUP and not carried and kind in ("key", "ball", "box"):
        return ahead, carried, action, grid.EMPTY, ahead
    if action == grid.DROP and carried and kind == "empty":
        return ahead, carried, action, carried, 0
    return ahead, carried, action, ahead, carried


def _hands_cases(rng: np.random.Generator) -> list[Case]:
    def rooms(name: str, *rows: tuple[int, ...]) -> Case:
        # A row is a room: what lies ahead, what is carried, the action; the first two afterwards.
        ahead, carried, there, hands = np.array(rows, np.uint8).T[[0, 1, 3, 4]]
        return Case(name, (ahead, carried, np.array(rows)[:, 2]), (there, hands))

    kinds = "floor", "door", "key", "ball", "box", "goal", "lava"
    things = [grid.code(kind, colour, 0) for kind in kinds for colour in COLOURS]
    things += [grid.EMPTY, grid.WALL, *(grid.code("door", c, s) for c in COLOURS for s in (1, 2))]
    held = [0, 0, *(grid.code(kind, rng.choice(COLOURS)) for kind in ("key", "ball", "box"))]
    every = rng.permutation([(x, y, z) for x in things for y in held for z in range(7)])
    key, ball, door = things[12], things[20], things[-1]
    empty, up, drop = grid.EMPTY, grid.PICKUP, grid.DROP
    return [
        rooms("a key, and free hands", (key, 0, up, empty, key)),
        rooms("a free cell, and full hands", (empty, ball, drop, ball, 0)),
        rooms("a key, and full hands", (key, ball, up, key, ball)),
        rooms("a key lies where it should be dropped", (key, ball, drop, key, ball)),
        rooms("a free cell, and nothing to drop", (empty, 0, drop, empty, 0)),
        rooms("a door, a wall, a free cell", *((x, 0, up, x, 0) for x in (door, grid.WALL, empty))),
        rooms("everything there is", *(_one_room(*row) for row in every.tolist())),
    ]


pick_up_or_drop = Exercise(
    reference=grid.pick_up_or_drop,
    cases=_hands_cases,
    edits="""
    lifts with full hands: ` & (carrying == 0)` goes. An agent whose hands are full lifts another
        thing, and what it carried is gone. Hands hold one thing.

    lifts doors and walls: ` & PORTABLE[ahead]` goes. Your agent lifts doors, walls, and the
        emptiness. `PORTABLE` says of each code whether it can be carried.

    lifts whatever it does: `(actions == PICKUP) & ` goes. Your agent lifts a thing by walking
        towards it. Only the action PICKUP lifts.

    the thing stays: `np.where(lifts, EMPTY, np.where(drops, carrying, ahead))` becomes
        `np.where(drops, carrying, ahead)`. What was lifted still lies there: now there are two.

    leaves a hole: `np.where(lifts, EMPTY` becomes `np.where(lifts, 0`. You write 0 into the cell,
        the code of what is not seen. A free cell has the code `EMPTY`, 18.

    drops on things: ` & (ahead == EMPTY)` goes. What lay there is overwritten. An agent drops only
        on a free cell.

    drops where it could walk: `(ahead == EMPTY)` becomes `PASSABLE[ahead]`. An open door, a goal
        or lava can be walked on, but nothing can be put there: the cell has to be `EMPTY`.

    drops nothing: ` & (carrying > 0)` goes. Free hands drop a 0, and the cell before them becomes
        one that is not seen. There has to be something to drop.

    lets go anyway: `np.where(drops, 0, carrying)` becomes `np.where(actions == DROP, 0, carrying)`.
        Where nothing could be dropped the hands are empty all the same: the thing is gone.

    keeps what it drops: `np.where(drops, 0, carrying)` becomes `carrying`. What was dropped is
        still in the hands: now there are two.

    writes into what it was given: `return there.astype(np.uint8), hands.astype(np.uint8)` becomes
        `ahead[:], carrying[:] = there, hands; return ahead, carrying`. The values are right, but
        they were written into `ahead` and `carrying`. Work on copies, or with `np.where`.
    """,
    hints=(
        "Two questions about each room, both arrays (N,) of booleans: does it lift, does it drop?",
        "`lifts = (actions == PICKUP) & PORTABLE[ahead] & (carrying == 0)`; `drops` has three "
        "conditions as well. Neither may write over `ahead` before the hands have been filled.",
        "`np.where(lifts, EMPTY, np.where(drops, carrying, ahead))` is what lies there afterwards; "
        "the hands are made the same way.",
    ),
)


# --- Luck ----------------------------------------------------------------------------------------


def _chance_cases(rng: np.random.Generator) -> list[Case]:
    def drawn(side: int, kept: int, *heard: str) -> Case:
        colours, kinds = (rng.permutation(words).tolist()[:side] for words in (COLOURS, KINDS))
        things = [(colour, kind) for colour in colours for kind in kinds][:kept]
        target = things[rng.integers(kept)]
        goal = Goal(str(rng.choice(VERBS_OF[target[1]])), *target)
        # Ground truth: of all 54 goals strike out those that it cannot be, part by part.
        left = {other for other in GOALS if other.thing in things}
        for part in heard:
            left -= {other for other in left if getattr(other, part) != getattr(goal, part)}
        return Case(f"{kept} things, heard {heard}", (things, goal, heard), 1 / len(left))

    doors = [("red", "key"), ("red", "door"), ("blue", "key"), ("blue", "door")]
    boxes = [("grey", "box"), ("grey", "ball"), ("green", "box")]
    key, door, box = Goal("go to", *doors[0]), Goal("open", *doors[1]), Goal("pick up", *boxes[0])
    return [
        Case("a key alone: go there, lift it", (doors[:1], key, ()), 1 / 2),
        Case("two keys, two doors", (doors, door, ()), 1 / 8),
        Case("a key and a box: not each thing alike", ([doors[0], boxes[0]], box, ()), 1 / 5),
        Case("red", (doors, door, ("colour",)), 1 / 4),
        Case("door", (doors, door, ("kind",)), 1 / 4),
        Case("open: no key can be", (doors, door, ("verb",)), 1 / 2),
        Case("the whole sentence", (doors, door, Goal._fields), 1.0),
        Case("red door", (doors, door, ("colour", "kind")), 1 / 2),
        Case("two boxes, a ball", (boxes, box, ()), 1 / 8),
        Case("pick up, one of three", (boxes, box, ("verb",)), 1 / 3),
        Case("pick up, grey", (boxes, box, ("verb", "colour")), 1 / 2),
        *(drawn(2, 4, *heard) for heard in ((), ("colour",), ("kind", "verb"), ("verb",))),
        *(drawn(2, 3, *heard) for heard in (("kind",), ("colour", "verb"))),
        drawn(3, 7),
    ]


chance = Exercise(
    reference=commands.chance,
    cases=_chance_cases,
    edits="""
    counts things: `for verb in VERBS_OF[thing[1]]` becomes `for verb in [goal.verb]`. You count
        things. A guess names what to do with one as well: two verbs fit a key, three fit a box.

    every verb fits: `VERBS_OF[thing[1]]` becomes `VERBS`. You count goals that cannot be, such as
        opening a key. Each kind has verbs of its own: `VERBS_OF`.

    a heard verb fits everything: `VERBS_OF[thing[1]]` becomes
        `(VERBS_OF[thing[1]] if "verb" not in heard else [goal.verb])`. Who has heard "open" need
        not think of keys and balls. Count only things that the heard verb fits.

    forgets the room: `[Goal(verb, *thing) for thing in things for verb in VERBS_OF[thing[1]]]`
        becomes `GOALS`. You count goals of things that do not stand in the room.

    one part is enough: `all(getattr` becomes `not heard or any(getattr`. You keep every goal that
        agrees with *one* of the parts that were heard. It has to agree with all of them.

    does not hear the verb: `for part in heard)` becomes `for part in set(heard) - {"verb"})`. A
        heard verb changes nothing in your count. It rules out all goals with another.

    knows the kind: `for thing in things for` becomes `for thing in things if thing[1] == goal.kind
        for`. You count only things of the target's kind, also where no kind was heard.

    part by part: `1 / len(agree)` becomes `1 / np.prod([len({getattr(g, part) for g in possible})
        for part in Goal._fields if part not in heard])`. You guess verb, colour and kind one by one
        and multiply. Then a key might be opened: count whole goals.

    picks a thing first: `1 / len(agree)` becomes `1 / len({g.thing for g in agree}) /
        len({g.verb for g in agree if g.thing == goal.thing})`. You guess a thing, then one of its
        verbs. Asked is each *goal* alike, and a box has three of them where a key has two.

    how many: `1 / len(agree)` becomes `len(agree)`. You return how many goals are left. The chance
        of hitting the right one is 1 over that.
    """,
    hints=(
        "List every goal that can be reached in the room: for each thing, each verb of `VERBS_OF`.",
        "Keep those which agree with `goal` in every part that was heard: `getattr(other, part)`.",
        "All that are left are alike to the guesser: `1 / len(left)`.",
    ),
)

generalisation_table = build.generalisation_table

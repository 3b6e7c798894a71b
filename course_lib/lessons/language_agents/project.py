"""The project of lesson 14: an agent that understands "not", though nobody says it that way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from course_lib.agents import instructions
from course_lib.agents.instructions import InstructionAgent
from course_lib.classroom.project import Project
from course_lib.lessons.language_agents import trials
from course_lib.rl import ppo
from course_lib.worlds import commands as rooms, grid, sentences
from course_lib.worlds.commands import Commands
from course_lib.worlds.sentences import COLOURS, HELD_OUT, KINDS, NUMBER, Command, Goal

VERB = "go to"  # all else would take longer than a project has time
EPISODES, KEPT = 400, 0.85
WORDING = "that is not"  # of the row that is measured


class Answer(NamedTuple):
    """What to train on, and how much of each sentence's vector the agent gets to hear."""

    commands: Sequence[Command]
    components: int = 16  # directions that the whitening keeps: 1 to 384


def understood(answer: Callable[[int], Answer], seed: int) -> float:
    """The share of "negation" that is done right, 0 where less than 0.85 of "seen" is."""
    share = asked(trained(answer(seed), seed), seed)
    return share["negation"] if share["seen"] >= KEPT else 0.0


def trained(given: Answer, seed: int) -> InstructionAgent:
    """The lesson's agent after the lesson's training, on other sentences.

    Raises ValueError where a sentence has the row's own wording, or a command makes no sense.
    """
    if not isinstance(given, Answer):
        raise ValueError(
            f"answer must return Answer(commands, components), got {type(given).__name__}"
        )
    texts = _checked(given.commands)
    encoder = instructions.whitened(trials.minilm(), texts, given.components)
    shape = grid.FEATURES, grid.VIEW**2, len(rooms.ACTIONS)
    agent = InstructionAgent(encoder, texts, *shape, seed=seed)
    envs = Commands(given.commands, instructions.PPO.num_envs, seed)
    for _ in ppo.train(agent, envs, instructions.PPO, seed):
        pass
    return agent


def asked(agent: InstructionAgent, seed: int) -> dict[str, float]:
    """Success by row of the table, over those commands that say "go to"."""
    table = sentences.rows(seed)
    rows = {name: [c for c in table[name] if c.goal.verb == VERB] for name in ("seen", "negation")}
    return trials.table(agent, rows, EPISODES, 10_000 + seed)


def _checked(commands: Sequence[Command]) -> list[str]:
    texts = [command.sentence for command in commands]
    for command in commands:
        heard = " ".join(instructions.words(command.sentence.replace("n't", " not")))
        if f" {WORDING} " in f" {heard} ":
            raise ValueError(
                f"no sentence may say “{WORDING}”, the wording of the row that is measured, got "
                f"{command.sentence!r}: say it in other words"
            )
        if command.goal not in NUMBER or command.beside:
            raise ValueError(
                f"each command needs a goal of sentences.GOALS and beside=False, got {command}"
            )
    if len(set(texts)) < 2:
        raise ValueError(f"commands must hold two different sentences at least, got {texts[:1]}")
    return texts


def baseline(seed: int) -> Answer:
    """The sentences of the lesson, none of which says "not"."""
    return Answer(sentences.training((VERB,)))


WITHOUT = (  # a colour that is not meant
    "go to the {k}, not the {c} one",
    "go to the {k}, never the {c} one",
    "go to the {k}, just not {c}",
    "go to the {k}, anything but {c}",
    "go to any {k} but the {c} one",
    "go to a {k} other than the {c} one",
    "go to a {k} of any colour except {c}",
    "go to a {k}, every colour is fine but {c}",
)


def reference(seed: int) -> Answer:
    """Eight other ways to rule out a colour, with every goal that they leave, and 48 components.

    Every goal, so that no sentence is learned as the name of one. The vectors do hold whether a
    colour is wanted or ruled out, but in directions in which sentences vary little: among the first
    16 there is hardly a trace of it. The lesson's own sentences fill more than half of the list.
    """
    ruled_out = [
        Command(words.format(c=wrong, k=kind), Goal(VERB, colour, kind), other=(wrong, kind))
        for words in WITHOUT
        for kind in KINDS
        for wrong in COLOURS
        for colour in COLOURS
        if colour != wrong and (colour, kind) not in HELD_OUT
    ]
    return Answer([*sentences.training((VERB,)) * 12, *ruled_out], components=48)


PROJECT = Project(
    lesson="language_agents",
    question="Told to “go to the ball that is not red”, the agent of this lesson goes to the red "
    "one. **Teach it “not”: choose what it is trained on, and how much of each vector it hears.** "
    "Encoder, network and training stay as they are, and nobody may train on the wording of the "
    "test: what is learned from other words has to carry over. The test says “go to” throughout.",
    answer="`answer(seed)`, which returns `Answer(commands, components)`, from "
    "`course_lib.lessons.language_agents.project`. `commands` is a list of `sentences.Command`: a "
    "sentence, its goal, and the colour and kind of another thing that the room must hold, as in "
    '`Command("go to the ball, not the red one", Goal("go to", "green", "ball"), ("red", '
    '"ball"))`. All are drawn alike, so one that stands there twice is heard twice as often. '
    "`components` is how many directions the whitening keeps; the lesson takes 16. Sentences with "
    "the words “that is not” are refused. **The metric is success on the row “negation”, and 0 "
    "where “seen” falls below 0.85**: an agent that knows “not” and no longer knows “go to the red "
    "ball” is no cure.",
    begin="take `baseline`, `trained` and `asked` from that file; `agent = trained(baseline(200), "
    "200)` takes as long as the lesson's training, and `asked(agent, 200)` gives both shares. Then "
    "work out, with `commands.chance`, what an agent gets that hears verb and kind and is deaf to "
    "the colour. That is what you have to beat. Write three ways to rule out a colour, and for "
    'each say which goals it leaves; `sentences.training(("go to",))` are the lesson\'s own.',
    metric=understood,
    unit="of 400 episodes with “not” done right",
    rubric={
        "pass": "at least 0.6 on average over the ten seeds: more than the half that an agent gets "
        "which ignores the colour. Your list in words, and both shares, seed by seed.",
        "good": "at least 0.75 on average, with no more than one seed at 0 (the answer that we "
        "measured has 0.70, and “seen” falls below the bar on two of its ten seeds); an ablation "
        "on three seeds or more: your sentences with 16 components, and your components with one "
        "way of saying it. And what was lost: "
        "“paraphrase”, “new verb” and “held-out pair”, for yours and for the baseline.",
        "excellent": "at least 0.85, and why. Scales and shifts are linear in what is heard, and "
        "“not” turns a colour's sign: show with a linear fit from the whitened vectors how many "
        "components it takes until wanted and ruled out can be told apart, colour by colour. Two "
        "controls: the same sentences, each with one goal only, asked about the goals it never "
        "came with; and a wording as far from yours as you can find, on which it fails.",
    },
    baseline=baseline,
    reference=reference,
)

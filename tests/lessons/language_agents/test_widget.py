"""The widget of lesson 14: what the agent hears and does, what a look-up would have heard."""

import numpy as np
import pytest
import torch

from course_lib.agents import instructions
from course_lib.lessons.language_agents import trials, widget as widgets
from course_lib.lessons.language_agents.widget import TellTheAgent
from course_lib.worlds import commands, sentences
from course_lib.worlds.commands import ACTION_NAMES, Plan, thing_code
from course_lib.worlds.grid import Rooms

VIEW = "application/vnd.jupyter.widget-view+json"
TEXTS = [command.sentence for command in sentences.training()]
ENCODER = instructions.BagOfWords(TEXTS)
AT = Rooms(1, 6).at
# The agent in the upper left corner looks to the right: a ball two cells ahead, a box below.
PLACES = {("red", "ball"): AT(3, 1), ("green", "box"): AT(1, 2)}
PLACES |= {("green", "ball"): AT(4, 4), ("blue", "door"): AT(1, 0)}
PLAN = Plan(tuple((place, thing_code(*thing)) for thing, place in PLACES.items()), AT(1, 1), 0)


class Script:
    """An agent that takes the actions of a script, again and again, and notes what it hears."""

    def __init__(self, *actions):
        self.sentences, self.heard, self.failing = TEXTS, [], False
        self.tell(*actions)

    def tell(self, *actions):
        self.actions = [ACTION_NAMES.index(action) for action in actions]
        self.steps = 0

    def hear(self, sentences):
        self.sentences = list(sentences)
        self.heard.append(self.sentences)

    def act(self, obs, generator=None):
        assert obs.shape == (1, 50) and obs[0, -1] == 0
        if self.failing:
            raise RuntimeError("out of order")
        self.steps += 1
        return np.array([self.actions[(self.steps - 1) % len(self.actions)]])


@pytest.fixture
def script(monkeypatch):
    monkeypatch.setattr(commands, "draw_plan", lambda *drawn: PLAN)
    return Script("forward", "pick up")


def told(agent, sentence="get the red ball", **options):
    return TellTheAgent(agent, sentence, ENCODER, **options)


@pytest.mark.parametrize(
    ("actions", "words", "way"),
    [
        ("forward/pick up", "picked up the red ball after 2 steps", "forward, pick up"),
        ("forward/done", "went to the red ball after 2 steps", "forward, done"),
        ("right/toggle", "opened the green box after 2 steps", "right, toggle"),
        ("left/toggle", "opened the blue door after 2 steps", "left, toggle"),
        ("left/left/done", "said “done” with nothing before it after 3 steps", "2 left, done"),
        ("done", "said “done” with nothing before it after 1 step", "done"),
        ("left", "had not decided after 24 steps", "24 left"),
    ],
)
def test_it_says_what_the_agent_did(script, actions, words, way):
    script.tell(*actions.split("/"))
    demo = told(script)
    (entry,) = demo.log
    assert (str(entry), entry.way()) == (words, way)
    assert f"the agent {words} ({way})" in repr(demo)


def test_the_agent_hears_the_very_sentence_and_then_again_what_it_had_heard(script):
    demo = told(script)
    typed = "  Don't: get the <b>BALL</b>, mate  "
    demo.set(typed)
    demo.do()
    assert script.heard[-2:] == [[typed], TEXTS] and script.sentences == TEXTS
    assert demo.log[-1].sentence == typed
    script.failing = True
    with pytest.raises(RuntimeError, match="out of order"):
        demo.do()
    assert script.sentences == TEXTS and len(demo.log) == 2


def test_every_sentence_is_done_in_the_same_room_until_a_new_one_is_drawn(script):
    demo = told(script)
    start, way = demo.start, [AT(1, 1), AT(2, 1), AT(2, 1)]
    assert demo.path == way and not np.array_equal(demo.end, start)
    script.tell("forward", "done")
    demo.do()
    assert demo.path == way and demo.log[1].did == "went to the red ball"
    assert [entry.room for entry in demo.log] == [1, 1]
    words = demo.new_room()
    assert words == (
        "Room 2: blue door, red ball, green ball, green box. Type a sentence, then press Do it."
    )
    assert demo.path == [] and len(demo.log) == 2
    assert np.array_equal(demo.start, start) and np.array_equal(demo.end, start)
    script.steps = 0
    demo.do()
    assert demo.log[-1].room == 2


def test_the_look_up_takes_the_nearest_sentence_of_training(script):
    demo = told(script)
    assert (demo.log[0].nearest, demo.log[0].cosine) == ("get the red ball", pytest.approx(1))
    demo.set("go to the red ball that is red")
    assert "heard “go to the red ball”, cosine 0.95" in demo.do()
    # go, to, the, ball once and red twice, against each of the five once
    assert demo.log[1].cosine == pytest.approx(6 / (8 * 5) ** 0.5)


def test_a_seed_repeats_rooms_and_actions():
    agents = [trials.new_agent("bag of words", sentences.training(), seed=0) for _ in range(2)]
    first, again = (TellTheAgent(agent, None, ENCODER, seed=3) for agent in agents)
    other = TellTheAgent(agents[0], None, ENCODER, seed=4)
    rooms = set()
    for _ in range(3):
        first.do(), again.do()
        assert first.plan == again.plan and first.log == again.log
        assert len(first.plan.things) == 4
        rooms.add(first.plan)
        first.new_room(), again.new_room()
    assert len(rooms) == 3 and other.plan not in rooms
    assert len({tuple(entry.actions) for entry in first.log[:2]}) == 2, "each press draws anew"
    assert first.log[0].sentence in TEXTS and first.log[0].nearest == first.log[0].sentence
    thing = " ".join(first.log[0].sentence.split()[-2:])
    assert thing in repr(TellTheAgent(agents[0], None, ENCODER, seed=3))
    assert torch.equal(agents[0].network.vectors, agents[0].encoder(TEXTS))


@pytest.mark.parametrize("sentence", ["", "   ", "a" * 201])
def test_too_little_or_too_much_gets_a_sentence_and_loses_nothing(script, sentence):
    demo = told(script)
    demo.set(sentence)
    length = len(sentence.strip())
    with pytest.raises(ValueError, match=f"has {length} characters, .* 1 to 200: type another"):
        demo.do()
    assert len(demo.log) == 1 and script.sentences == TEXTS and demo.path
    demo.set("a" * 200)
    demo.do()
    assert len(demo.log) == 2


def test_the_button_does_what_is_typed_and_says_what_cannot_be_done(script):
    demo = told(script)
    line, row, image, page = demo.widget().children
    do, new = row.children
    assert [line.value, do.description, new.description] == [
        "get the red ball",
        "Do it",
        "New room",
    ]
    before = bytes(image.value)
    line.value = "go <i>there</i>"
    script.tell("right", "toggle")
    do.click()
    assert bytes(image.value) != before
    assert "opened the green box" in page.value and "go &lt;i&gt;there&lt;/i&gt;" in page.value
    assert page.value.index("green box after") < page.value.index("red ball after")
    line.value = ""
    do.click()
    assert "has 0 characters" in page.value and line.value == "" and len(demo.log) == 2
    new.click()
    assert "Room 2: " in page.value and page.value.count("<tr>") == 3
    assert demo.sentence == ""


def test_the_picture_shows_the_way_from_a_ring_to_the_agent(script):
    demo = told(script)
    before, after = demo.figure().axes
    assert not before.lines and before.get_title("left") == "before"
    way, ring = after.lines[-2:]
    assert way.get_xdata().tolist() == [48, 80, 80] and way.get_ydata().tolist() == [48, 48, 48]
    assert ring.get_marker() == "o" and ring.get_xdata().tolist() == [48]
    demo.new_room()
    assert not demo.figure().axes[1].lines


def test_the_stored_output_reads_well_without_a_kernel(script):
    stored = told(script)._repr_mimebundle_()
    assert stored[VIEW]["model_id"] and stored["image/png"]
    assert stored["text/plain"] == (
        "Room 1: blue door, red ball, green ball, green box. Told “get the red ball”, the agent "
        "picked up the red ball after 2 steps (forward, pick up). A look-up would have heard “get "
        "the red ball”, cosine 1.00."
    )
    assert "Run this cell to tell it something else." in stored["text/html"]


def test_without_an_encoder_the_look_up_is_the_lesson_s(script, monkeypatch):
    monkeypatch.setattr(trials, "minilm", lambda: ENCODER)
    assert TellTheAgent(script).encoder is ENCODER


def test_the_notebook_s_name_for_it():
    assert widgets.tell_the_agent is TellTheAgent

"""The widget of lesson 09: advantages of a group, its sentence, its sliders."""

import numpy as np
import pytest
import torch

from course_lib.lessons.dpo_grpo.widget import GROUP, GROUPS, GroupExplorer

VIEW = "application/vnd.jupyter.widget-view+json"


def test_advantages_by_hand():
    group = GroupExplorer(GROUPS["one right"])
    undivided = np.array([5, -1, -1, -1, -1, -1]) / 6
    np.testing.assert_allclose(group.advantages("none"), undivided, atol=1e-6)
    deviation = np.std(group.rewards, ddof=1)
    np.testing.assert_allclose(group.advantages("std"), undivided / deviation, rtol=1e-3)
    assert group.push("none") == pytest.approx(10 / 6)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("one right", "the prompt is hard"),
        ("half right", "about half solved"),
        ("one wrong", "the prompt is easy"),
        ("nearly tied", "hardly differ"),
        ("tied", "teaches nothing"),
    ],
)
def test_each_group_has_its_sentence(name, words):
    group = GroupExplorer(GROUPS[name])
    assert words in group.reason() and group.reason() in repr(group)


def test_dividing_favours_hard_and_easy_prompts():
    push = {name: GroupExplorer(rewards).push("std") for name, rewards in GROUPS.items()}
    plain = {name: GroupExplorer(rewards).push("none") for name, rewards in GROUPS.items()}
    for name in ("one right", "one wrong", "nearly tied"):
        assert push[name] / plain[name] > push["half right"] / plain["half right"] + 0.3
    assert push["tied"] == plain["tied"] == 0


def test_the_function_given_is_the_one_at_work():
    group = GroupExplorer(group_advantages=lambda rewards, scale: torch.ones_like(rewards))
    assert group.advantages("std").tolist() == [1.0] * GROUP


@pytest.mark.parametrize(
    ("rewards", "sentence"),
    [([0.5] * 5, "has 6 responses, got 5"), ([1.5] + [0] * 5, r"in \[0, 1\], got 1.5")],
)
def test_impossible_groups_are_refused(rewards, sentence):
    with pytest.raises(ValueError, match=sentence):
        GroupExplorer(rewards)


def test_sliders_and_menu_change_picture_and_words():
    group = GroupExplorer()
    form = group.widget()
    menu, columns, image, words = form.children
    sliders = [slider for column in columns.children for slider in column.children]
    before, first = image.value, words.value
    assert menu.value == "one right" and [s.value for s in sliders] == group.rewards
    sliders[3].value = 1.0
    assert group.rewards[3] == 1.0 and image.value != before and words.value != first
    menu.value = "tied"
    assert group.rewards == [0.5] * 6 and "teaches nothing" in words.value
    assert [s.value for s in sliders] == [0.5] * 6


def test_it_shows_itself_with_and_without_a_kernel():
    bundle = GroupExplorer()._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "image/png", VIEW}

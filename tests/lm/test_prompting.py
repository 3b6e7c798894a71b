"""Prompts, and reading the answer: shared prefixes, several tokens per label, batches."""

import numpy as np
import pytest
import torch

from course_lib.classroom import use
from course_lib.lm import prompting
from course_lib.lm.gpt import GPT, GPTConfig
from course_lib.lm.prompting import Task

SMALL = GPTConfig(vocab_size=130, layers=2, width=32, heads=4, kv_heads=2)


class Letters:
    """A tokenizer whose tokens are ASCII codes; 128 ends a text."""

    def encode(self, text, add_special_tokens=False):
        if text in ("<|im_end|>", "<|endoftext|>"):
            return [128]
        return [ord(letter) for letter in text]

    def decode(self, tokens, skip_special_tokens=True):
        return "".join(chr(t) for t in tokens.tolist() if t < 128)


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = GPT(SMALL)
    for parameter in model.parameters():
        parameter.data.mul_(4) if parameter.dim() == 2 else None
    return model


def by_hand(model, prompt, continuation):
    """One prompt with one continuation, no cache, no batch."""
    logp = model(torch.tensor([[*prompt, *continuation]]))[0].log_softmax(-1)
    places = range(len(prompt) - 1, len(prompt) + len(continuation) - 1)
    return sum(logp[i, t] for i, t in zip(places, continuation, strict=True)).item()


def test_prompt_by_hand():
    shots = [("hot", "cold"), ("up", "down")]
    assert prompting.few_shot_prompt("Write the opposite.", shots, "big") == (
        "Write the opposite.\n\nInput: hot\nOutput: cold\n\nInput: up\nOutput: down\n\n"
        "Input: big\nOutput:"
    )
    assert prompting.few_shot_prompt("", [], "big") == "Input: big\nOutput:"


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_continuation_logp_equals_one_at_a_time(model, batch_size):
    prompts = [[1, 2, 3, 4, 5], [1, 2, 3, 9], [1, 2, 3, 7, 8, 9, 10]]
    choices = [[20], [21], [22, 23], [22, 24], [25, 26, 27]]
    scores = prompting.continuation_logp(model, prompts, choices, batch_size)
    expected = [[by_hand(model, p, c) for c in choices] for p in prompts]
    torch.testing.assert_close(scores, torch.tensor(expected), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("prompts", [[[5]], [[5], [6, 7]], [[1, 2], [1, 2]], [[1, 2, 3], [1, 2]]])
def test_prompts_that_share_all_or_nothing(model, prompts):
    scores = prompting.continuation_logp(model, prompts, [[3], [4]])
    expected = [[by_hand(model, p, c) for c in ([3], [4])] for p in prompts]
    torch.testing.assert_close(scores, torch.tensor(expected), rtol=1e-4, atol=1e-4)


def test_the_shared_part_is_read_once(model):
    read = []
    usual = model.transformer.forward

    def counting(x, *args, **kwargs):
        read.append(x.shape[0] * x.shape[1])
        return usual(x, *args, **kwargs)

    model.transformer.forward = counting
    prompts = [[*range(1, 41), i] for i in range(50, 60)]
    prompting.continuation_logp(model, prompts, [[3], [4]])
    assert sum(read) == 40 + 10


def test_classify_takes_the_most_probable_label(model):
    labels = ["yes", "no", "perhaps"]
    prompts = ["Is it so?", "Is it not so, then?"]
    letters = Letters()
    scores = [
        [by_hand(model, letters.encode(p), letters.encode(f" {label}")) for label in labels]
        for p in prompts
    ]
    expected = [labels[int(np.argmax(row))] for row in scores]
    assert prompting.classify(model, letters, prompts, labels) == expected


def test_answers_are_greedy_lines(model):
    letters = Letters()
    prompts = ["Input: a\nOutput:", "Input: bc\nOutput:", "Input: defg\nOutput:"]
    expected = []
    for prompt in prompts:
        tokens, line = letters.encode(prompt), []
        for _ in range(6):
            token = int(model(torch.tensor([tokens]))[0, -1].argmax())
            if token in (10, 128):
                break
            tokens.append(token)
            line.append(token)
        expected.append("".join(chr(t) for t in line if t < 128).strip())
    for batch_size in (1, 2, 32):
        assert prompting.answers(model, letters, prompts, 6, batch_size) == expected


class Scripted:
    """Stands in for `answers`: says what the test wants."""

    def __init__(self, lines):
        self.lines, self.prompts = lines, None

    def __call__(self, model, tokenizer, prompts):
        self.prompts = prompts
        return self.lines


def test_evaluate_compares_answers(monkeypatch):
    items = (("big", "small"), ("day", "night"), ("up", "down"))
    task = Task("opposites", "Write.", (), items)
    script = Scripted(["Small.", "nights", ' "down"'])
    monkeypatch.setattr(prompting, "answers", script)
    right = prompting.evaluate(None, None, task, [("hot", "cold")])
    assert right.tolist() == [True, False, True]
    assert script.prompts[0] == "Write.\n\nInput: hot\nOutput: cold\n\nInput: big\nOutput:"
    with use({prompting.few_shot_prompt: lambda *parts: parts[2]}):
        assert prompting.evaluate(None, None, task).shape == (3,)
    assert script.prompts == ["big", "day", "up"]


def test_evaluate_with_labels(model):
    task = Task("t", "Say.", (), (("a", "yes"), ("b", "no")), ("yes", "no"))
    prompts = [prompting.few_shot_prompt("Say.", (), q) for q, _ in task.items]
    given = prompting.classify(model, Letters(), prompts, task.labels)
    right = prompting.evaluate(model, Letters(), task)
    assert right.tolist() == [given[0] == "yes", given[1] == "no"]


def test_shots_are_balanced_different_and_drawn():
    shots = tuple((f"q{i}", "ab"[i % 2]) for i in range(20))
    task = Task("t", "", shots, (), ("a", "b"))
    for count in (1, 2, 5, 8):
        chosen = prompting.draw_shots(task, count, np.random.default_rng(count))
        assert len(set(chosen)) == count
        answers = [answer for _, answer in chosen]
        assert abs(answers.count("a") - answers.count("b")) <= 1
    draw = lambda seed: prompting.draw_shots(task, 8, np.random.default_rng(seed))  # noqa: E731
    assert draw(0) == draw(0) and draw(0) != draw(1)
    free = Task("t", "", shots, ())
    assert len(set(prompting.draw_shots(free, 20, np.random.default_rng(0)))) == 20
    assert prompting.draw_shots(free, 0, np.random.default_rng(0)) == []


def test_more_shots_than_there_are():
    task = Task("t", "", (("q", "a"),), ())
    with pytest.raises(ValueError, match="has 1 examples to show, got 2"):
        prompting.draw_shots(task, 2, np.random.default_rng(0))


def test_normalise():
    assert prompting.normalise(' "Paris". ') == prompting.normalise("paris")
    assert prompting.normalise("Buenos Aires") != prompting.normalise("Buenos")

"""FrozenLake in words: the game, the split, the text, the form, the baselines, the open loop."""

import itertools

import gymnasium
import pytest
import torch

from benchmarks.transformer_world_model import text_world as benchmark
from course_lib.lessons.transformer_world_model import text_world
from course_lib.lm import finetune
from course_lib.lm.gpt import GPT, GPTConfig
from course_lib.worlds import pretrained, text_lake
from course_lib.worlds.text_lake import Transition, Words

CLASSIC = (5, 7, 11, 12)  # the holes of the lake that Gymnasium ships


def test_the_transitions_are_those_of_the_game():
    assert text_lake.rows(CLASSIC) == ["SFFF", "FHFH", "FFFH", "HFFG"]
    env = gymnasium.make("FrozenLake-v1", is_slippery=False)
    found = text_lake.transitions(CLASSIC)
    assert len(found) == 11 * 4
    for t in found:
        env.reset()
        env.unwrapped.s = t.state
        after, reward, terminated, *_ = env.step(t.action)
        assert (t.next_state, t.reward, t.end) == (after, reward, terminated)
        assert t == text_lake.truth(*t.question)
    with pytest.raises(ValueError, match="state 5 of this lake is a hole"):
        text_lake.truth(CLASSIC, 5, 0)
    assert {t.tile for t in found if t.end} == {"hole", "goal"}
    assert all(t.tile == "ice" for t in found if not t.end)


def test_every_lake_can_be_crossed():
    lakes = text_lake.all_lakes()
    assert CLASSIC in lakes and (1, 4, 5, 6) not in lakes  # walled in
    assert len(set(lakes)) == len(lakes) == 757


@pytest.mark.parametrize("seed", range(3))
def test_no_lake_and_no_held_out_pair_is_on_both_sides(seed):
    split = text_lake.split(seed)
    assert [len(part) for part in split[:3]] == [320, 64, 64]
    assert all(len(set(part)) == len(part) for part in split[:3])
    tests = split.seen_pairs + split.new_pairs
    assert not {t.lake for t in split.train} & {t.lake for t in tests}
    assert {t.lake for t in tests} <= set(split.test_lakes)
    assert all(sum(t.end for t in part) * 2 == len(part) for part in split[:3])
    pairs = [{(t.state, t.action) for t in part} for part in split[:3]]
    assert not pairs[0] & pairs[2] and not pairs[1] & pairs[2] and len(pairs[2]) <= 12
    assert text_lake.split(seed) == split != text_lake.split(seed + 1)


def test_the_words_of_a_transition():
    t = text_lake.truth(CLASSIC, 4, 2)
    assert text_lake.prompt(*t.question) == (
        "Frozen lake, two two: hole, two four: hole, three four: hole, four one: hole, "
        "four four: goal.\n"
        "You stand at two one. You move right to"
    )
    assert text_lake.response(t) == " two two: hole, reward zero, end yes."
    assert text_lake.response(text_lake.truth(CLASSIC, 14, 2)) == (
        " four four: goal, reward one, end yes."
    )
    assert text_lake.response(text_lake.truth(CLASSIC, 0, 3)) == (
        " one one: ice, reward zero, end no."
    )


def test_words_have_numbers_and_every_example_is_as_long():
    words = Words()
    examples = text_lake.examples(words, text_lake.split(0).train)
    assert len({(len(e.prompt), len(e.response)) for e in examples}) == 1
    assert all(e.response[-1] == words.eos_token_id == 0 for e in examples)
    assert max(max(*e.prompt, *e.response) for e in examples) < len(words)
    with pytest.raises(KeyError):
        words.encode("Ice cream")


def tiny(seed: int = 0) -> GPT:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return GPT(GPTConfig(len(Words()), 512, layers=2, width=48, heads=2))


def test_predictions_agree_with_reading_everything_again():
    words, model = Words(), tiny()
    split = text_lake.split(0)
    questions = [t.question for t in split.seen_pairs[:5]]
    shots = split.train[:2]
    shown = "".join(f"{text_lake.prompt(*t.question)}{text_lake.response(t)}\n\n" for t in shots)
    found = text_world.predict(model, words, questions, shots, batch_size=2)
    for a, predicted in zip(questions, found, strict=True):
        text, chosen = shown + text_lake.prompt(*a), []
        for before, choices in text_lake.FORM:
            text += before
            logits = model(torch.tensor([words.encode(text)]))[0, -1]
            best = max(choices, key=lambda word: logits[words.encode(f" {word}")[0]].item())
            chosen.append(choices.index(best))
            text += f" {best}"
        row, column, tile, reward, end = chosen
        tile = text_lake.TILES[tile]
        assert predicted == Transition(*a, 4 * row + column, tile, reward, bool(end))


def test_what_is_learned_is_predicted():
    words, model = Words(), tiny()
    known = text_lake.split(0).train[:4]
    config = finetune.Config(
        total_steps=90, batch_size=4, micro_batch=4, row_length=None, learning_rate=5e-3
    )
    last = list(finetune.train(model, text_lake.examples(words, known), config, 0))[-1]
    assert last["loss"] < 0.1
    assert text_world.predict(model, words, [t.question for t in known]) == known


def test_baselines():
    questions = [(CLASSIC, 0, 2), (CLASSIC, 0, 0), (CLASSIC, 4, 2), (CLASSIC, 14, 2)]
    truths = [text_lake.truth(*a) for a in questions]
    unmoved = text_world.score(text_world.unmoved(questions), truths)
    assert unmoved == {"state": 0.25, "tile": 0.5, "outcome": 0.5, "whole": 0.25}
    blind = text_world.score(text_world.blind(questions), truths)
    assert blind == {"state": 1, "tile": 0.75, "outcome": 0.75, "whole": 0.75}
    elsewhere = (1, 2, 9, 10)
    known = [text_lake.truth(elsewhere, 0, 2), text_lake.truth(elsewhere, 4, 2)]
    guessed = text_world.table(known, questions)
    assert [g[3:] for g in guessed] == [
        (1, "hole", 0, True),  # as on the other lake
        (0, "ice", 0, False),  # never seen: nothing moves
        (5, "ice", 0, False),
        (14, "ice", 0, False),
    ]


def test_the_score_of_the_truth_is_one():
    truths = text_lake.split(0).new_pairs
    assert set(text_world.score(truths, truths).values()) == {1.0}


def test_walks_stay_on_the_ice_and_hold_together():
    lakes = text_lake.split(0).test_lakes
    walked = text_world.walks(lakes, 10, 6, seed=3)
    assert walked == text_world.walks(lakes, 10, 6, seed=3)
    for walk in walked:
        assert len(walk) == 6 and walk[0].state == 0 and not any(t.end for t in walk)
        assert all(a.next_state == b.state for a, b in itertools.pairwise(walk))


def test_the_open_loop_lives_on_its_own_words(monkeypatch):
    walked = text_world.walks(text_lake.split(0).test_lakes, 8, 5)
    asked_at = []

    def perfect(model, tokenizer, questions):
        return [text_lake.truth(*a) for a in questions]

    def lost(model, tokenizer, questions):
        asked_at.append([a[1] for a in questions])
        return [Transition(*a, 15, "ice", 0, False) for a in questions]

    monkeypatch.setattr(text_world, "predict", perfect)
    assert text_world.open_loop(None, None, walked) == [1.0] * 5
    monkeypatch.setattr(text_world, "predict", lost)
    assert text_world.open_loop(None, None, walked) == [0.0] * 5
    assert asked_at[0] == [0] * 8 and asked_at[1] == [15] * 8


def test_verdicts_of_made_up_runs():
    def runs(method, n, shares):
        scores = [{part: x for part in benchmark.NAMED} for x in shares]
        return [{"method": method, "n": n, "seen_pairs": s, "new_pairs": s} for s in scores]

    better = [0.9, 0.8, 0.9, 0.8, 0.9]
    mixed = [0.9, 0.3, 0.8, 0.9, 0.95]
    for theirs, word in [
        ([0.2] * 5, "helps"),
        ([1.0] * 5, "hurts"),
        (mixed, "no clear difference"),
    ]:
        made = runs(benchmark.LORA, 36, better) + runs(benchmark.SMALL, 36, theirs)
        goals = benchmark.verdicts(made)
        assert [goal.measured.count(word) for goal in goals] == [2, 2]


def test_smollm2_reads_each_blank_as_one_token():
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(pretrained.prepare())
    for _, words in text_lake.FORM:
        assert all(len(tokenizer.encode(f" {word}")) == 1 for word in words)
    examples = text_lake.examples(tokenizer, text_lake.split(0).train[:40])
    assert {(len(e.prompt), len(e.response)) for e in examples} == {(41, 12)}

"""Lesson 10's small worlds: the watched run, the collapsed text, harmful requests."""

import copy
from dataclasses import replace

import pytest
import torch

from benchmarks.alignment import alignment_cures
from course_lib.lessons.alignment import goodhart, hacking, red_team
from course_lib.lm import lora
from course_lib.lm.gpt import GPT, GPTConfig
from course_lib.rlhf.reward_model import rewards
from course_lib.worlds import concierge, concierge_pipeline as pipeline

ASK = concierge.prompt_tokens("where is the pool ?")


def words(prompts, responses):
    return torch.tensor([float(len(response)) for response in responses])


def test_a_watched_run_tells_what_the_others_think_and_learns_nothing_from_them():
    model, replies = pipeline.sft_model(), []
    config = replace(goodhart.PPO, total_steps=2, batch_size=8, minibatch_size=8, epochs=1)

    def run(others, replies=None):
        policy = copy.deepcopy(model)
        rows = list(goodhart.train(policy, words, others, config, 0, replies))
        return rows, policy

    rows, policy = run({"true": concierge.true_rewards(), "same": words}, replies)
    _, other = run({})
    assert [row["same"] for row in rows] == [row["reward"] for row in rows]
    assert all(-10 < row["true"] < 4 for row in rows) and len(replies) == 2
    assert replies[0][0] in concierge.questions()[0]
    for ours, theirs in zip(policy.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_small_judges_and_large_ones_start_at_the_demonstrations_zero():
    model = pipeline.sft_model()
    pairs, labels = pipeline.labelled(model, 40, 0, concierge.questions()[0][:2])
    for width in (None, 24):
        judge = goodhart.judge(model, pairs, labels, seed=0, steps=2, width=width)
        shown = concierge.demonstrations(200, 0)
        given = rewards(judge, [e.prompt for e in shown], [e.response for e in shown])
        assert given.mean().item() == pytest.approx(0.0, abs=1e-4)
        assert judge.config.width == (width or model.config.width)


def test_the_benchmarks_count_wrong_facts_and_stop_over_a_budget():
    replies = [
        concierge.reply_tokens("it is on the roof . take the lift to the top ."),
        concierge.reply_tokens("it is in the basement . take the stairs down ."),
    ]
    assert alignment_cures.wrong_facts([ASK] * 2, replies).tolist() == [0.0, 2.0]
    assert alignment_cures.over_budget([0.0, 1.0, 4.0, 2.0], 3.0) == 1
    assert alignment_cures.over_budget([9.0], 3.0) == 0
    assert alignment_cures.over_budget([0.0, 1.0], 3.0) == 1


class Letters:
    """A tokenizer of single letters."""

    eos_token_id = 0

    def encode(self, text, add_special_tokens=True):
        return [1 + "abcdefghijklmnopqrstuvwxyz .".index(c) for c in text.lower() if c.isalpha()]

    def decode(self, tokens, skip_special_tokens=False):
        return "".join(" abcdefghijklmnopqrstuvwxyz .~"[t] for t in tokens if t)


def test_distinct_counts_over_all_texts():
    assert hacking.distinct(["a b c", "d e f"], 1) == 1
    assert hacking.distinct(["good good", "good good"], 1) == 0.25
    assert hacking.distinct(["a b a b"], 2) == pytest.approx(2 / 3)
    assert hacking.distinct([], 2) == 0


def test_repeated_words_are_a_cost():
    tokenizer = Letters()
    repeats = hacking.repetition(tokenizer)
    texts = [[1, 27, 1, 27, 1, 27, 2], [1, 27, 2], []]
    assert repeats([[]] * 3, texts).tolist() == [0.5, 0.0, 0.0]


def test_before_training_a_model_is_its_own_reference():
    torch.manual_seed(0)
    model = GPT(GPTConfig(30, context=64, layers=2, width=16, heads=2))
    lora.apply(model, hacking.ADAPTERS, seed=0)
    found = hacking.evaluate(model, Letters(), each=2)
    assert found.kl == pytest.approx(0.0, abs=1e-3) and found.perplexity > 1
    assert len(found.texts) == 2 * len(hacking.OPENINGS)


def test_harm_is_a_private_thing_of_somebody_else():
    harmful = {(r.whose, r.thing) for r in red_team.REQUESTS if r.harmful}
    assert ("the neighbour's", "key") in harmful
    assert ("my", "key") not in harmful and ("the neighbour's", "umbrella") not in harmful


def test_held_out_pairs_are_of_both_kinds_and_never_trained_on():
    for seed in range(5):
        train, held_out = red_team.split(seed)
        assert not {r[:2] for r in train} & {r[:2] for r in held_out}
        assert {r.harmful for r in held_out} == {True, False}
        assert {r.whose for r in train} == set(red_team.OWN + red_team.OTHERS)
        assert {r.thing for r in train} == set(red_team.PRIVATE + red_team.OPEN)


def test_helping_is_giving_what_was_asked_for():
    one, other = red_team.REQUESTS[:5:4]
    prompts = [red_team.prompt_tokens(one)] * 3
    replies = [one.answer, other.answer, red_team.REFUSAL]
    given = red_team.helpfulness(prompts, [red_team.reply_tokens(text) for text in replies])
    assert given.tolist() == [1.0, 0.0, 0.0]


def test_scores_tell_harm_from_over_refusal():
    torch.manual_seed(0)
    score = red_team.evaluate(GPT(red_team.MODEL), red_team.REQUESTS[::5], each=1)
    assert score.harm == 0 and score.over_refusal == 1  # an untrained model helps nobody
    assert len(score.replies) == len(red_team.REQUESTS[::5])

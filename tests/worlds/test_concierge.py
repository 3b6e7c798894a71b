"""The concierge's world: features of replies written by hand, questions, staff, models."""

import numpy as np
import pytest
import torch

from course_lib.rlhf.preferences import Pair
from course_lib.rlhf.reward_model import Comparison
from course_lib.worlds import concierge as c, concierge_pipeline as pipeline

POOL = "where is the pool ?"  # on the roof


@pytest.mark.parametrize(
    ("reply", "points", "found"),
    [
        ("it is on the roof .", 2, {"right": 1}),
        ("the pool is on the roof .", 2, {"right": 1}),
        ("it is in the basement .", -2, {"wrong": 1}),
        ("", -1, {"silent": 1}),
        ("hello .", -0.5, {"silent": 1, "courtesy": 1}),
        ("it is on the roof . take the lift to the top .", 3, {"right": 1, "way": 1}),
        ("it is on the roof . take the stairs down .", 1, {"right": 1, "wrong_way": 1}),
        (
            "hello . it is on the roof . take the lift to the top . enjoy your stay .",
            4,
            {"right": 1, "way": 1, "courtesy": 2},
        ),
        (
            "hello . welcome . it is on the roof . have a nice day .",
            2.5,
            {"right": 1, "courtesy": 2, "fawning": 1},
        ),
        ("i think it is on the roof .", 1.5, {"right": 1, "hedge": 1}),
        ("it is on the roof . we also sell postcards .", 1.5, {"right": 1, "chatter": 1}),
        ("i am busy .", -2.5, {"silent": 1, "rude": 1}),
        ("it is on the roof . it is on the roof .", 1, {"right": 1, "repeat": 1}),
        ("it is on the roof . it is in the basement .", 1, {"right": 1, "wrong_way": 1}),
        ("it is on the roof", -2, {"silent": 1, "broken": 1}),
        ("the gym is in the basement .", -1.5, {"silent": 1, "chatter": 1}),
        ("roof . roof .", -3, {"silent": 1, "broken": 1, "repeat": 1}),
    ],
)
def test_the_worth_of_replies_written_by_hand(reply, points, found):
    counted = {name: n for name, n in c.features(POOL, reply).items() if n}
    assert counted == found
    assert c.true_reward(POOL, reply) == points


def test_the_best_reply_is_worth_four_points_and_a_long_one_less():
    best = "hello . it is on the roof . take the lift to the top . just call me ."
    assert c.true_reward(POOL, best) == 4.0
    words = len(best.split())
    longer = best + " word" * (c.LONG - words + 3)  # a broken sentence, three words too many
    assert c.features(POOL, longer)["extra_word"] == 3
    assert c.true_reward(POOL, longer) == pytest.approx(4.0 - 1.0 - 3 * 0.05)


def test_values_can_be_your_own():
    rude = c.Values(rude=2.0, silent=0.0)
    assert c.true_reward(POOL, "i am busy .", rude) == 2.0


def test_questions_are_split_so_that_every_thing_is_on_both_sides():
    train, held_out = c.questions()
    assert len(train) == 48 and len(held_out) == 12 and not set(train) & set(held_out)
    for side in (train, held_out):
        assert {c.thing_of(question) for question in side} == set(c.WHERE)
    patterns = {q.replace(c.thing_of(q), "{}") for q in held_out}
    assert patterns == set(c.QUESTIONS), "no form of question is new to the model"


def test_a_question_about_nothing_is_a_sentence():
    with pytest.raises(ValueError, match="names none of pool"):
        c.thing_of("where is the moon ?")


def test_tokens_and_back():
    prompt, reply = c.prompt_tokens(POOL), c.reply_tokens("it is on the roof .")
    assert c.question_of(prompt) == POOL and c.question_of(torch.tensor(prompt)) == POOL
    assert reply[-1] == c.END_TOKEN and c.reply_of(reply) == "it is on the roof ."
    assert c.reply_of(reply[:-1]) == "it is on the roof .", "also where no end was written"
    assert c.PAD_TOKEN != c.END_TOKEN and c.PAD_TOKEN not in prompt + reply


def test_everything_that_staff_say_is_a_sentence_that_is_known():
    rng = np.random.default_rng(0)
    for staff in (*c.EVERYBODY, c.DEMONSTRATOR):
        for question in c.questions()[0]:
            reply = staff.reply(question, rng)
            assert c.features(question, reply)["broken"] == 0
            assert len(c.prompt_tokens(question) + c.reply_tokens(reply)) <= pipeline.MODEL.context


def test_the_demonstrator_is_the_better_colleague_but_no_angel():
    shown = c.demonstrations(400, seed=5)
    worth = c.true_rewards()([e.prompt for e in shown], [e.response for e in shown])
    assert 0.5 < float(worth.mean()) < 2.5 and float(worth.max()) == 4.0


def test_data_are_repeatable_and_differ_between_seeds():
    assert torch.equal(c.corpus(20, seed=1), c.corpus(20, seed=1))
    assert c.corpus(20, seed=1).tolist() != c.corpus(20, seed=2).tolist()
    assert c.demonstrations(5, seed=1) == c.demonstrations(5, seed=1)
    one, two = pipeline.new_model(3), pipeline.new_model(3)
    assert torch.equal(one.embedding.weight, two.embedding.weight)


def test_labelled_pairs_as_token_numbers():
    pairs = [Pair(POOL, "hello .", "i am busy ."), Pair(POOL, "welcome .", "hello .")]
    first, tie = pipeline.compare(pairs, [1.0, 0.5])
    assert first == Comparison(
        c.prompt_tokens(POOL), c.reply_tokens("hello ."), c.reply_tokens("i am busy ."), 1.0
    )
    assert tie.share == 0.5


def test_the_stored_model_has_been_fine_tuned():
    model = pipeline.sft_model()
    assert model.config == pipeline.MODEL
    scores = pipeline.evaluate(model, model, c.true_rewards(), number=120, seed=1)
    assert 0.5 < scores.true.mean() < 1.8 and scores.finished.mean() > 0.95
    assert np.abs(scores.kl).max() < 1e-3
    np.testing.assert_allclose(scores.true, scores.proxy)
    assert [c.true_reward(*qr) for qr in zip(scores.questions, scores.replies, strict=True)] == (
        pytest.approx(scores.true.tolist())
    )

"""The widget of lesson 08: its numbers add up, its controls change what they say."""

import pytest
import torch

from course_lib.lessons.rlhf_ppo.widget import Account
from course_lib.rlhf import ppo
from course_lib.worlds import concierge, concierge_pipeline as pipeline

VIEW = "application/vnd.jupyter.widget-view+json"
QUESTIONS = concierge.questions()[1]


@pytest.fixture
def account():
    reference, policy = pipeline.sft_model(), pipeline.sft_model()
    with torch.no_grad():
        policy.embedding.weight.mul_(1.1)
    critic = ppo.Critic(reference)
    torch.nn.init.constant_(critic.head.bias, 0.5)
    return Account(
        policy, critic, reference, concierge.true_rewards(), QUESTIONS, ppo.Config(beta=0.1)
    )


def test_the_numbers_of_a_reply_add_up(account):
    entries = account.entries()
    assert [e.word for e in entries][-1] == "<end>"
    assert [e.score for e in entries[:-1]] == [0] * (len(entries) - 1)
    reply = " ".join(e.word for e in entries[:-1])
    assert entries[-1].score == pytest.approx(concierge.true_reward(account.question, reply))
    for entry in entries:
        assert entry.penalty == pytest.approx(-0.1 * (entry.logp - entry.ref_logp), abs=1e-5)
        assert entry.value == pytest.approx(0.5)
    last = entries[-1]
    assert last.advantage == pytest.approx(last.score + last.penalty - last.value, abs=1e-5)


def test_beta_changes_the_price_and_not_the_reply(account):
    before = account.entries()
    account.set(beta=0.2)
    after = account.entries()
    assert [e.word for e in before] == [e.word for e in after]
    for one, two in zip(before, after, strict=True):
        assert two.penalty == pytest.approx(2 * one.penalty, abs=1e-6)
    with pytest.raises(ValueError, match=r"beta must lie in \[0, 0.5\], got 0.7"):
        account.set(beta=0.7)


def test_another_question_gets_another_reply(account):
    account.set(question=QUESTIONS[3])
    assert account.question == QUESTIONS[3] and QUESTIONS[3] in repr(account)
    with pytest.raises(ValueError, match="no question 'why'"):
        account.set(question="why")


def test_the_form_calls_these_functions(account):
    asked, buttons, beta, page = account.widget().children
    draws = account.draws
    buttons.children[0].click()
    assert account.draws == draws + 1 and page.value == account.as_html()
    asked.value = QUESTIONS[5]
    assert QUESTIONS[5] in page.value
    beta.value = 0.0
    assert account.beta == 0.0 and "at 0 points each" in page.value


def test_the_stored_output_says_the_same_without_a_kernel(account):
    data = account._repr_mimebundle_()
    assert VIEW in data and data["text/html"] == account.as_html()
    assert "advantage" in data["text/plain"] and "&lt;end&gt;" in data["text/html"]

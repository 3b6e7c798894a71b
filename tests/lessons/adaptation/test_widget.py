"""The widget of lesson 06: prompts, streaming, stopping, the switch for adapters."""

import itertools
import threading
import time

import pytest
import torch

from course_lib.lessons.adaptation import widget as widgets
from course_lib.lessons.adaptation.widget import LONGEST, Reply, Talk
from course_lib.lm import lora
from course_lib.lm.gpt import GPT, GPTConfig

VIEW = "application/vnd.jupyter.widget-view+json"
SIGNS = "\x00" + "".join(chr(code) for code in range(32, 127)) + "\n"


class Letters:
    """A tokenizer of letters with a chat template like SmolLM2's: `<role>content` and a full stop.

    Where the system says nothing, "be nice" is put in. Token 0 ends a reply.
    """

    eos_token_id = 0

    def apply_chat_template(self, messages, tokenize, add_generation_prompt=False):
        assert not tokenize
        if messages[0]["role"] != "system":
            messages = [{"role": "system", "content": "be nice"}, *messages]
        text = "".join(f"<{m['role']}>{m['content']}." for m in messages)
        return text + "<assistant>" * add_generation_prompt

    def encode(self, text, add_special_tokens=True):
        assert not add_special_tokens
        return [SIGNS.index(sign) for sign in text]

    def decode(self, tokens, skip_special_tokens=False):
        return "".join(SIGNS[token] for token in tokens if token or not skip_special_tokens)


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = GPT(GPTConfig(len(SIGNS), context=64, layers=1, width=16, heads=2))
    with torch.no_grad():
        model.embedding.weight.mul_(20)
    return model


@pytest.fixture
def chat(model):
    return Talk(model, Letters(), "Hello", max_new_tokens=20)


def control(box, name):
    return next(
        c
        for child in box.children
        for c in (child, *getattr(child, "children", ()))
        if getattr(c, "description", None) == name
    )


def test_the_system_prompt_is_the_templates_none_or_your_own(chat):
    seen = {}
    for chat.system in widgets.SYSTEMS:
        seen[chat.system] = Letters().decode(chat.prepare("Hi"))
    assert seen == {
        "default": "<system>be nice.<user>Hi.<assistant>",
        "none": "<user>Hi.<assistant>",
        "own": "<system>You answer like a pirate..<user>Hi.<assistant>",
    }


def test_empty_and_very_long_questions_get_a_sentence(chat):
    for empty in ("", "  \n "):
        with pytest.raises(ValueError, match="The question is empty: type something first"):
            chat.prepare(empty)
    with pytest.raises(ValueError, match=r"has 1,0\d\d tokens, .* reads at most 1,000: shorten"):
        chat.prepare("x" * (LONGEST + 5))
    with pytest.raises(ValueError, match="has 200,000 characters, far more than the 1,000 tokens"):
        chat.prepare("x" * 200_000)


def test_the_reply_grows_token_by_token(chat):
    replies = list(chat.answer("Hello", max_new_tokens=12))
    assert [reply.tokens for reply in replies] == list(range(1, len(replies) + 1))
    for before, after in itertools.pairwise(replies):
        assert after.text.startswith(before.text)
        assert after.seconds >= before.seconds and after.reading == before.reading > 0
    assert len(replies) == 12 or replies[-1].ended


def test_it_ends_with_the_token_that_ends_a_reply(model):
    model.head = torch.nn.Linear(16, len(SIGNS))
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.copy_(torch.eye(len(SIGNS))[0])
    (reply,) = Talk(model, Letters(), "Hello").answer("Hello")
    assert reply.ended and reply.text == "" and reply.tokens == 1
    assert reply.status().endswith("ended by itself")


def test_a_character_that_is_not_yet_whole_is_not_shown(chat, monkeypatch):
    # The last of several bytes is missing: tokenizers then decode to this sign.
    monkeypatch.setattr(chat.tokenizer, "decode", lambda tokens, **_: "ab" + "\ufffd" * 2)
    assert next(chat.answer("Hello")).text == "ab"


def test_at_temperature_0_a_question_has_one_reply_and_at_1_several(chat):
    def reply():
        return list(chat.answer("Hello"))[-1].text

    assert reply() == reply()
    chat.temperature = 1.0
    assert reply() != reply()


def test_stop_ends_the_reply(chat):
    chat.max_new_tokens = 400
    shown = []

    def show():
        shown.append(chat.reply.tokens)
        if chat.reply.tokens == 3:
            chat.stop()

    chat.temperature = 1.0
    chat.ask("Hello", show).join(60)
    assert not chat.busy()
    assert chat.reply.tokens == 3 and "cut off" in repr(chat)
    assert shown == [1, 2, 3, 3]
    chat.ask("Hello", lambda: chat.reply.tokens < 5 or chat.stop()).join(60)
    assert chat.reply.tokens == 5, "an earlier stop is forgotten"


def test_a_second_question_waits_for_the_first(chat):
    hold = threading.Event()
    thread = chat.ask("Hello", lambda: hold.wait(60))
    try:
        assert chat.busy()
        with pytest.raises(ValueError, match="still writing: press Stop first"):
            chat.ask("Hello", lambda: None)
    finally:
        hold.set()
        thread.join(60)
    assert not chat.busy()


def test_an_error_in_the_background_is_shown(chat):
    chat.model = None
    chat.ask("Hello", lambda: None).join(60)
    assert "NoneType" in repr(chat) and "NoneType" in chat.as_html()
    assert not chat.busy()


def test_adapters_can_be_switched_off_and_are_back_afterwards(model):
    letters = Letters()
    plain = list(Talk(model, letters, "Hello").answer("Hello"))[-1].text
    lora.apply(model, lora.Config(rank=2), seed=0)
    for layer in lora.adapters(model).values():
        torch.nn.init.normal_(layer.b, std=2.0)
    chat = Talk(model, letters, "Hello")
    adapted = list(chat.answer("Hello"))[-1].text
    chat.adapters = False
    assert list(chat.answer("Hello"))[-1].text == plain != adapted
    assert {layer.scale for layer in lora.adapters(model).values()} == {8.0}
    reply = chat.answer("Hello")
    next(reply)
    reply.close()  # as when a learner turns away in the middle
    assert {layer.scale for layer in lora.adapters(model).values()} == {8.0}
    assert control(chat.widget(), "LoRA adapters").layout.display is None


def test_adapters_that_come_later_are_said_and_can_be_switched_off(chat):
    box = chat.widget()
    lora.apply(chat.model, lora.Config(rank=2), seed=0)
    for switch_on in (True, False):
        control(box, "LoRA adapters").value = switch_on
        control(box, "Send").click()
        while chat.busy():
            time.sleep(0.01)
        assert control(box, "LoRA adapters").layout.display is None
        assert ("with LoRA adapters" in box.children[-1].value) == switch_on


def test_the_widget_asks_with_its_settings(chat):
    box = chat.widget()
    page = box.children[-1]
    assert control(box, "LoRA adapters").layout.display == "none", "there are none"
    control(box, "question").value = "Why <b>?"
    control(box, "temperature").value = 1.0
    control(box, "most tokens").value = 10
    control(box, "system prompt").value = "own"
    assert control(box, "own prompt").layout.display is None
    control(box, "own prompt").value = "shout"
    control(box, "Send").click()
    while chat.busy():
        time.sleep(0.01)
    assert (chat.temperature, chat.max_new_tokens, chat.system) == (1.0, 10, "own")
    assert chat.own_system == "shout" and chat.question == "Why <b>?"
    assert "Why &lt;b&gt;?" in page.value and "10 tokens" in page.value
    assert not control(box, "Send").disabled and control(box, "Stop").disabled
    control(box, "question").value = " "
    control(box, "Send").click()
    assert page.value == "<b>The question is empty: type something first.</b>"


def test_speed_is_measured_between_the_first_token_and_the_last():
    assert Reply("", 0, 0.0, 0.0, False).status() == "reading ..."
    reply = Reply("abc", tokens=11, seconds=2.0, reading=0.5, ended=False)
    assert reply.status() == "11 tokens, 5 tokens/s after 0.5 s of reading; cut off"
    assert reply.status(busy=True).endswith("still writing")


def test_the_stored_output_reads_well_without_a_kernel(model):
    chat = widgets.talk(model, Letters(), question="Hello")
    stored = chat._repr_mimebundle_()
    assert stored[VIEW]["model_id"]
    assert stored["text/plain"] == repr(chat)
    assert stored["text/plain"].startswith("You: Hello\nModel: ")
    assert chat.reply.tokens <= 40
    assert "Hello" in stored["text/html"] and "aria-live" in stored["text/html"]

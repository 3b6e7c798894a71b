"""Widgets of lesson 05: attention by hand and temperature, their sentences and their controls."""

import math
import warnings

import numpy as np
import pytest
import torch

from course_lib.classroom import live
from course_lib.lessons.transformer import widget as widgets
from course_lib.lessons.transformer.exercises import attention as exercise
from course_lib.lessons.transformer.widget import WORDS, AttentionByHand, TemperatureExplorer
from course_lib.lm.generate import Sampling, stream
from course_lib.lm.gpt import GPT, GPTConfig
from course_lib.lm.tokenizer import BPETokenizer, CharTokenizer

VIEW = "application/vnd.jupyter.widget-view+json"
TEXT = "To be, or not to be: that is the question.\nIt costs $5 or $6."


def control(box, name):
    return next(c for c in box.children if getattr(c, "description", None) == name)


# --- Attention by hand -------------------------------------------------------------------------


def test_his_looks_at_the_king():
    explorer = AttentionByHand(word="his", divisor=2.0, causal=True)
    # Scores 0, 6, 0 and 1.8, divided by 2; "crown" comes later.
    strength = [1, math.exp(3), 1, math.exp(0.9), 0]
    expected = np.array(strength) / sum(strength)
    np.testing.assert_allclose(explorer.weights(), expected, atol=1e-6)
    # "king" is alive and royal, "his" is half alive, "saw" looks.
    alive, royal, looking = expected[1] + expected[3] / 2, expected[1], expected[2]
    np.testing.assert_allclose(explorer.mixed(), [alive, royal, 0, looking], atol=1e-6)
    assert "king 0.82" in repr(explorer) and "4 of 5" in repr(explorer)


def test_the_divisor_makes_attention_sharp_or_even():
    explorer = AttentionByHand(causal=False)
    explorer.set(divisor=0.25)
    assert explorer.weights()[1] > 0.999
    explorer.set(divisor=16.0)
    assert explorer.weights().max() < 0.3
    assert float(explorer.weights().sum()) == pytest.approx(1.0)


def test_the_mask_hides_later_words():
    explorer = AttentionByHand(word="king", causal=True)
    assert explorer.mask().tolist() == [[True, True, False, False, False]]
    assert explorer.weights()[2:].tolist() == [0, 0, 0]
    explorer.set(causal=False)
    assert explorer.weights()[3] == explorer.weights().max(), '"his" is a small word, too'
    assert "all other words" in repr(explorer)
    explorer.set(word="the")
    np.testing.assert_allclose(explorer.weights(), 0.2)  # it asks for nothing


def test_the_attention_given_is_the_one_at_work():
    wrong = widgets.attention_by_hand(exercise.mistake("masks after softmax"))
    assert float(wrong.weights().sum()) < 0.999
    with pytest.raises(ValueError, match="no setting 'temperature'; there are: word"):
        wrong.set(temperature=1)
    with pytest.raises(ValueError, match=r"word must be one of the, king, .* got 'queen'"):
        wrong.set(word="queen")
    with pytest.raises(ValueError, match=r"divisor must lie in \[0.25, 16\], got 0"):
        wrong.set(divisor=0)
    assert wrong.settings["word"] == "his", "a refused setting changes nothing"


def test_controls_change_words_and_picture():
    explorer = AttentionByHand()
    box = explorer.widget()
    image, words = box.children[-2:]
    for name, value in (("word", "king"), ("divisor", 4.0), ("causal", False)):
        before = bytes(image.value), words.value
        control(box, name).value = value
        assert explorer.settings[name] == value
        assert bytes(image.value) != before[0] and words.value != before[1]
    assert words.value.startswith("&quot;king&quot; asks")
    assert control(box, "word").options == WORDS


# --- Temperature -------------------------------------------------------------------------------


@pytest.fixture
def reader():
    """A small untrained model of letters that has opinions, and its tokenizer."""
    tokenizer = CharTokenizer.train(TEXT)
    torch.manual_seed(0)
    config = GPTConfig(tokenizer.vocab_size, context=16, layers=1, width=16, heads=2)
    model = GPT(config)
    with torch.no_grad():
        model.embedding.weight.mul_(10)
    return model, tokenizer


def entropy(p):
    return float(-(p * p.clamp(min=1e-30).log()).sum())


def test_temperature_flattens_and_top_p_cuts(reader):
    explorer = widgets.temperature(*reader, "To be", characters=10)
    explorer.set(temperature=1.0)
    model, sampled = explorer.distribution()
    torch.testing.assert_close(model, sampled)
    explorer.set(temperature=0.5)
    sharp = explorer.distribution().sampled
    # Dividing logits by 1/2 squares the probabilities.
    torch.testing.assert_close(sharp, model**2 / (model**2).sum())
    explorer.set(temperature=2.0)
    assert entropy(sharp) < entropy(model) < entropy(explorer.distribution().sampled)
    explorer.set(temperature=1.0, top_p=0.4)
    kept = explorer.distribution().sampled > 0
    assert model[kept].sum() >= 0.4 > model[kept].sum() - model[kept].min()
    explorer.set(temperature=0.0)
    assert explorer.distribution().sampled.max() == 1.0
    assert f"1 of {len(model)} tokens can be drawn; the draw is worth 0.0 bits" in repr(explorer)


def test_within_the_context_it_writes_what_the_library_streams(reader):
    model, tokenizer = reader
    explorer = TemperatureExplorer(model, tokenizer, "To be", characters=6)
    text = explorer.set(temperature=1.2, top_p=0.9, seed=7)
    sampling = Sampling(max_new_tokens=6, temperature=1.2, top_p=0.9)
    generator = torch.Generator().manual_seed(7)
    tokens = stream(model, torch.tensor(tokenizer.encode("To be")), sampling, generator)
    assert text == tokenizer.decode(list(tokens))
    assert explorer.set(seed=8) != text
    assert explorer.set(seed=7) == text


def test_beyond_the_context_it_reads_no_more_than_the_context(reader, monkeypatch):
    model, tokenizer = reader
    longest, hidden = [], model.hidden

    def watched(tokens, valid_mask=None, cache=None, mask=None):
        longest.append(tokens.shape[1] + (cache.length if cache is not None else 0))
        return hidden(tokens, valid_mask, cache, mask)

    monkeypatch.setattr(model, "hidden", watched)
    explorer = TemperatureExplorer(model, tokenizer, TEXT, characters=100)
    assert len(explorer.text) == 100
    assert model.config.context // 2 < max(longest) <= model.config.context


def test_pieces_of_words_work_as_letters_do():
    tokenizer = BPETokenizer.train(TEXT * 20, vocab_size=300)
    model = GPT(GPTConfig(tokenizer.vocab_size, context=32, layers=1, width=16, heads=2))
    explorer = TemperatureExplorer(model, tokenizer, "to be", characters=50)
    assert len(explorer.text) == 50
    assert live.to_png(explorer.chart()).startswith(b"\x89PNG")


def test_wrong_settings_get_a_sentence_and_change_nothing(reader):
    explorer = TemperatureExplorer(*reader, "To be", characters=5)
    before = dict(explorer.settings), explorer.text
    for settings, words in [
        ({"prompt": ""}, "the prompt is empty"),
        ({"prompt": "Zebra"}, "the character 'Z' was not in the training text"),
        ({"temperature": 3.0}, r"temperature must lie in \[0, 2\], got 3"),
        ({"top_p": 0.0}, r"top_p must lie in \[0.05, 1\], got 0"),
        ({"heat": 1.0}, "no setting 'heat'; there are: prompt, temperature"),
    ]:
        with pytest.raises(ValueError, match=words):
            explorer.set(**settings)
    assert (explorer.settings, explorer.text) == before


def test_moving_a_slider_writes_another_text(reader):
    explorer = TemperatureExplorer(*reader, "To be", characters=30)
    box = explorer.widget()
    image, words, page = box.children[-3:]
    for name, value in (("temperature", 2.0), ("seed", 3), ("top-p", 0.2)):
        before = page.value
        control(box, name).value = value
        assert page.value != before
    assert bytes(image.value).startswith(b"\x89PNG")
    assert "temperature 2.00 and top-p 0.20" in words.value
    control(box, "prompt").value = "Ü"
    assert page.value.startswith("<b>the character &#x27;Ü&#x27; was not in the training text")
    control(box, "prompt").value = "not"
    assert "<b>not</b>" in page.value


def test_signs_that_figures_treat_specially_are_drawn_as_they_are(reader):
    explorer = TemperatureExplorer(*reader, "It costs $5 or $6.\n", characters=30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = explorer.figure()
        live.to_png(page)
    assert "It costs $5 or $6.\n" in page.axes[1].texts[0].get_text()


@pytest.mark.parametrize("name", ["attention", "temperature"])
def test_the_stored_output_reads_well_without_a_kernel(name, reader):
    shown = AttentionByHand() if name == "attention" else TemperatureExplorer(*reader, "To be", 200)
    stored = shown._repr_mimebundle_()
    assert stored[VIEW]["model_id"]
    assert stored["text/plain"] == repr(shown)
    assert stored["image/png"]
    if name == "temperature":
        assert stored["text/plain"].endswith("To be" + shown.text) and len(shown.text) == 200

"""The models that pretraining speed is compared with are what they say they are."""

import math

import numpy as np
import pytest
import torch

from benchmarks.transformer import lm_peers, pretrain_chars, pretrain_speed, scaling
from course_lib.lm import losses
from course_lib.lm.gpt import GPT, GPTConfig

SHAPE = GPTConfig(vocab_size=11, context=12, layers=2, width=32, heads=2, hidden=88)


@pytest.mark.parametrize("name", pretrain_speed.MODELS)
def test_each_model_reads_tokens_and_knows_nothing_yet(name):
    torch.manual_seed(0)
    model = pretrain_speed.MODELS[name](SHAPE)
    tokens = torch.randint(11, (3, 12))
    logits = model(tokens)
    assert logits.shape == (3, 12, 11)
    assert losses.next_token_loss(logits, tokens)[0].item() == pytest.approx(math.log(11), abs=0.1)


@pytest.mark.parametrize("name", pretrain_speed.MODELS)
def test_no_model_sees_the_future(name):
    torch.manual_seed(0)
    model = pretrain_speed.MODELS[name](SHAPE).eval()
    tokens = torch.randint(11, (1, 12))
    changed = tokens.clone()
    changed[0, 8:] = (changed[0, 8:] + 1) % 11
    with torch.no_grad():
        one, two = model(tokens), model(changed)
    torch.testing.assert_close(one[:, :8], two[:, :8])
    assert not torch.allclose(one[:, 8:], two[:, 8:])


def test_nanogpt_has_the_weights_of_its_architecture():
    width, layers = SHAPE.width, SHAPE.layers
    expected = (11 + 12) * width + layers * (12 * width**2 + 2 * width) + width
    assert sum(p.numel() for p in lm_peers.NanoGPT(SHAPE).parameters()) == expected


def test_llama_has_as_many_weights_as_the_kits_model():
    theirs = sum(p.numel() for p in lm_peers.llama(SHAPE).parameters())
    assert theirs == GPT(SHAPE).num_parameters()


def test_counting_characters_by_hand():
    """After "aab": a was followed by a and b once each; the end of the text by nothing."""
    # order 0: a 2, b 1; two kinds in three; the rest goes to 1/2 each: p(a) = (2 + 2/2) / 5.
    a, b = 3 / 5, 2 / 5
    assert pretrain_chars.count_bits("aab", "ab", 0) == pytest.approx(-math.log2(b))
    # order 1: after a, a and b once each, two kinds: p(b | a) = (1 + 2 * 2/5) / 4.
    assert pretrain_chars.count_bits("aab", "ab", 1) == pytest.approx(-math.log2((1 + 2 * b) / 4))
    # b was followed by nothing: order 1 knows no more than order 0.
    assert pretrain_chars.count_bits("aab", "ba", 1) == pytest.approx(-math.log2(a))


def test_counted_probabilities_sum_to_one():
    first = pretrain_chars.count_bits("abracadabra", "ab", 2)
    total = 0.0
    for c in "abcdr":  # twice the mean over two characters, less the first one, is the second
        total += 2 ** -(2 * pretrain_chars.count_bits("abracadabra", "ab" + c, 2) - first)
    assert total == pytest.approx(1)


def test_the_power_law_is_found_again():
    sizes, budgets = np.array([2e4, 8e4, 3e5]), np.array([1e5, 4e5, 1.6e6])
    true = np.array([1.2, math.log(0.5), 0.25, math.log(0.8), 0.4])
    means = scaling.predict(true, sizes, budgets)
    assert means[0, 0] == pytest.approx(1.2 + 0.5 * 0.2**-0.25 + 0.8 * 0.1**-0.4)
    found = scaling.fit(sizes, budgets, means)
    np.testing.assert_allclose(scaling.predict(found, sizes, budgets), means, atol=1e-3)

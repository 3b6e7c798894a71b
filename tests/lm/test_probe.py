"""The linear probe: its optimum by the gradient's own equation, and its features."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from course_lib.lm import probe


def data(seed=0, rows=60, width=5, classes=3):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, width, generator=generator)
    centres = torch.randn(classes, width, generator=generator)
    return x, (x @ centres.T).argmax(dim=1)


@pytest.mark.parametrize("strength", [0.1, 10.0])
def test_fit_finds_the_optimum(strength):
    x, y = data()
    fitted = probe.fit(x, y, 3, strength)
    # At the optimum: sum over rows of (p - onehot) x + weight / strength = 0, and for the bias 0.
    p = (x @ fitted.weight.T + fitted.bias).softmax(dim=1)
    surplus = p - F.one_hot(y, 3)
    weight_slope = surplus.T @ x + fitted.weight / strength
    torch.testing.assert_close(weight_slope, torch.zeros_like(weight_slope), atol=1e-3, rtol=0)
    torch.testing.assert_close(surplus.sum(0), torch.zeros(3), atol=1e-3, rtol=0)


def test_strength_frees_the_weights():
    x, y = data()
    sizes = [probe.fit(x, y, 3, s).weight.norm().item() for s in (0.01, 1.0, 100.0)]
    assert sizes[0] < 0.5 * sizes[1] < 0.25 * sizes[2]


def test_accuracy_and_classes_without_labels():
    x, y = data(rows=200)
    fitted = probe.fit(x[:100], y[:100], 3, 100.0)
    assert fitted.accuracy(x[100:], y[100:]) > 0.9
    two = probe.fit(x[y < 2], y[y < 2], 3)
    assert set(two.predict(x[y < 2]).tolist()) == {0, 1}


def test_fit_says_what_is_wrong():
    with pytest.raises(ValueError, match="got 2 and 3"):
        probe.fit(torch.zeros(3, 2), torch.zeros(2, dtype=torch.int64), 2)


def test_bag_of_words_by_hand():
    texts = ["Good, good film!", "A film."]
    terms = probe.vocabulary(texts)
    assert terms == ["!", "a", "a film", "film", "film !", "good", "good film", "good good"]
    features = probe.bag_of_words([*texts, "nothing known"], terms)
    expected = np.array([[1, 0, 0, 1, 1, 1, 1, 1], [0, 1, 1, 1, 0, 0, 0, 0], [0] * 8], dtype=float)
    expected[0] /= np.sqrt(6)
    expected[1] /= np.sqrt(3)
    np.testing.assert_allclose(features.numpy(), expected, rtol=1e-6)
    assert probe.words("It's DON'T, 3 times?") == ["it's", "don't", "3", "times", "?"]

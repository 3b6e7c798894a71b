"""Rollouts of a language model: what is kept, what is refused."""

import pytest
import torch

from course_lib.lm.generate import Sampling
from course_lib.lm.gpt import GPT, GPTConfig
from course_lib.lm.losses import response_logp
from course_lib.rlhf.rollouts import collect

END = 5
PROMPTS = [[1, 2], [3], [1, 2, 4, 1]]


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=8, context=32, layers=2, width=16, heads=2))
    model.embedding.weight.data *= 20  # far from uniform
    return model


def lengths(prompts, responses):
    return torch.tensor([float(len(response)) for response in responses])


def rollout(model, **settings):
    sampling = Sampling(**{"max_new_tokens": 6, "stop_tokens": (END,)} | settings)
    return collect(model, PROMPTS, lengths, sampling, torch.Generator().manual_seed(0))


def test_responses_are_what_the_masks_keep(model):
    found = rollout(model)
    for i, (prompt, response) in enumerate(zip(PROMPTS, found.responses, strict=True)):
        assert found.prompts[i] == prompt
        assert found.tokens[i][found.valid_mask[i]].tolist() == prompt + response
        assert found.tokens[i][found.response_mask[i]].tolist() == response
        assert END not in response[:-1]
        assert bool(found.finished[i]) == (response[-1] == END)
        assert found.finished[i] or len(response) == 6
    assert found.rewards.tolist() == [len(response) for response in found.responses]


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logp_is_that_of_the_tempered_model(model, temperature):
    found = rollout(model, temperature=temperature)
    again = response_logp(
        model, found.tokens, found.valid_mask, found.response_mask, temperature=temperature
    )
    torch.testing.assert_close(found.logp, again.detach(), atol=1e-5, rtol=0)


def test_it_refuses_what_would_falsify_the_log_probabilities(model):
    with pytest.raises(ValueError, match="top_k and top_p must be None"):
        rollout(model, top_k=3)
    with pytest.raises(ValueError, match="stop_tokens must name"):
        rollout(model, stop_tokens=())


def test_a_reward_of_the_wrong_shape_is_refused(model):
    def per_token(prompts, responses):
        return torch.zeros(3, 6)

    with pytest.raises(ValueError, match=r"shape \(3,\), got \(3, 6\)"):
        collect(model, PROMPTS, per_token, Sampling(6, stop_tokens=(END,)))

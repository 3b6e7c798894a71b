"""The runs of lesson 05 that the learner's functions drive, in small."""

import torch

from course_lib.lm import pretrain
from course_lib.lm.generate import Sampling, generate
from course_lib.lm.gpt import GPT, GPTConfig

SHAPE = GPTConfig(vocab_size=7, context=8, layers=2, width=16, heads=2)


def pretraining():
    """A few updates, and what the model then writes, one token at a time."""
    torch.manual_seed(0)
    model = GPT(SHAPE)
    text = torch.randint(7, (200,), generator=torch.Generator().manual_seed(0))
    config = pretrain.Config(total_steps=6, batch_size=4, context=8, learning_rate=2e-2)
    records = list(pretrain.train(model, text, config))
    return records, generate(model, text[None, :4], sampling=Sampling(4, temperature=0)).logp


def writing():
    """A sample drawn through the filter."""
    torch.manual_seed(0)
    model, draw = GPT(SHAPE), torch.Generator().manual_seed(0)
    return generate(model, torch.zeros(8, 1).long(), None, Sampling(8, top_p=0.5), draw).tokens


RUNS = {
    "attention": (pretraining, "masks after softmax"),
    "causal_mask": (pretraining, "sees the future"),
    "residual_block": (pretraining, "no residuals"),
    "next_token_nll": (pretraining, "does not shift"),
    "top_p_filter": (writing, "keeps the rest"),
}

CALLED = {"learn_merges"}

"""How well a model predicts the tokens that came: the loss of pretraining and of fine-tuning.

A language model gives the probability of a text by the chain rule, one token at a time:
log p(x) = sum over t of log p(x_t | x_0 ... x_{t-1}). The position *before* a token predicts it,
so all functions here shift by one.
"""

import math

import torch.nn.functional as F
from torch import Tensor

from course_lib.lm.gpt import GPT
from course_lib.rl.losses import masked_mean


def next_token_nll(logits: Tensor, tokens: Tensor) -> Tensor:
    """The negative log-likelihood ("surprise") in nats of each token but the first, (B, T - 1).

    ``logits`` (B, T, V) are a model's scores after each of ``tokens`` (B, T). Those at position t
    are compared with the token at t + 1; the last ones predict a token that is not there.
    """
    guesses, targets = logits[:, :-1], tokens[:, 1:]
    nll = F.cross_entropy(guesses.flatten(0, 1), targets.flatten(), reduction="none")
    return nll.view(targets.shape)


def next_token_loss(
    logits: Tensor, tokens: Tensor, target_mask: Tensor | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy: the mean surprise per target in nats, a number, and in bits as a metric.

    ``logits`` (B, T, V), ``tokens`` (B, T). ``target_mask`` (B, T) is 1 at the tokens that the
    model should learn to write; None means all. Shannon, "A mathematical theory of communication"
    (1948): the bits that an ideal compressor would spend on a token.
    """
    nll = next_token_nll(logits, tokens)
    loss = masked_mean(nll, None if target_mask is None else target_mask[:, 1:])
    return loss, {"bits": loss.detach() / math.log(2)}


def response_logp(
    model: GPT,
    tokens: Tensor,
    valid_mask: Tensor | None,
    response_mask: Tensor,
    temperature: float = 1.0,
    mask: Tensor | None = None,
) -> Tensor:
    """Log-probability of each token that ``response_mask`` (B, T) keeps, (B, T); 0 elsewhere.

    Given all tokens before it; the very first token of a row has none before it and counts 0.
    ``tokens`` and ``valid_mask`` (B, T). Logits are computed only where they are needed: with
    SmolLM2's 49,152 tokens, those of 512 positions would fill 100 MB, and the gradient as much.
    ``temperature`` divides the logits: give the one that the tokens were sampled with.
    ``mask`` (B, T, T) stands in for the causal mask, as where several texts share a row.
    """
    hidden = model.hidden(tokens, valid_mask, mask=mask)
    wanted = response_mask[:, 1:].bool()
    logits = model.head(hidden[:, :-1][wanted]).float() / temperature  # (number of targets, V)
    logp = -F.cross_entropy(logits, tokens[:, 1:][wanted], reduction="none")
    placed = logp.new_zeros(wanted.shape).masked_scatter(wanted, logp)
    return F.pad(placed, (1, 0))

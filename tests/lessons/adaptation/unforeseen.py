"""Wrong answers that no exercise of this lesson names, which its checks refuse all the same."""

import torch
import torch.nn.functional as F

from course_lib.lessons.adaptation.build import train_lora
from course_lib.lm.finetune import response_mask


def prompt(instruction, shots, question, colon=":"):
    parts = [instruction] if instruction else []
    parts += [f"Input{colon} {a}\nOutput{colon} {b}" for a, b in shots]
    return "\n\n".join([*parts, f"Input{colon} {question}\nOutput{colon}"])


def numbered(instruction, shots, question):
    parts = [f"Input {i}: {q}\nOutput {i}: {a}" for i, (q, a) in enumerate(shots, 1)]
    parts = [instruction, *parts] if instruction else parts
    return "\n\n".join([*parts, f"Input: {question}\nOutput:"])


def trained_in_place(updates, weight, a, b, scale, learning_rate):
    """Right values, but the given A and B are lost."""
    trained = train_lora.reference(updates, weight, a, b, scale, learning_rate)
    for old, new in zip((a, b), trained, strict=True):
        old.copy_(new)
    return a, b


def merged(updates, weight, a, b, scale, learning_rate):
    a, b = train_lora.reference(updates, weight, a, b, scale, learning_rate)
    return weight + scale * b @ a


def a_number(updates, weight, a, b, scale, learning_rate):
    return torch.tensor(0.5)


UNFORESEEN = {
    "train_lora": {
        "trained in place": trained_in_place,
        "the merged matrix alone": merged,
        "the last loss": a_number,
    },
    "few_shot_prompt": {
        "a blank before each colon": lambda *args: prompt(*args, colon=" :"),
        "only the first example": lambda text, shots, question: prompt(text, shots[:1], question),
        "one line after the instruction": lambda text, shots, question: (
            (text + "\n" if text else "") + prompt("", shots, question)
        ),
        "no instruction without examples": lambda text, shots, question: prompt(
            text if shots else "", shots, question
        ),
        "numbered examples": numbered,
        "a line at the end": lambda *args: prompt(*args) + "\n\n",
        "sorted examples": lambda text, shots, question: prompt(text, sorted(shots), question),
    },
    "response_mask": {
        "the first prompt for all": lambda prompt, lengths, T: response_mask(
            prompt[:1].expand_as(prompt), lengths, T
        ),
        "lengths from the right": lambda prompt, lengths, T: response_mask(prompt, lengths, T).flip(
            1
        ),
        "rows without padding alone": lambda prompt, lengths, T: (
            response_mask(prompt, lengths, T) & (lengths == T)[:, None]
        ),
        "a response of at least two tokens": lambda prompt, lengths, T: response_mask(
            torch.minimum(prompt, lengths - 2), lengths, T
        ),
        "as long as the longest": lambda prompt, lengths, T: response_mask(
            prompt, lengths.amax().expand_as(lengths), T
        ),
    },
    "lora_forward": {
        "through a ReLU": lambda x, w, a, b, scale: (
            F.linear(x, w) + scale * F.linear(F.relu(F.linear(x.to(a.dtype), a)), b)
        ),
        "the frozen output through the adapter": lambda x, w, a, b, scale: (
            F.linear(x, w) + scale * F.linear(F.linear(x.to(a.dtype), a), b).tanh().to(x.dtype)
        ),
        "scale on both matrices": lambda x, w, a, b, scale: (
            F.linear(x, w) + F.linear(F.linear(x.to(a.dtype), scale * a), scale * b).to(x.dtype)
        ),
        "half of each": lambda x, w, a, b, scale: (
            0.5 * F.linear(x, w)
            + (0.5 * scale * F.linear(F.linear(x.to(a.dtype), a), b)).to(x.dtype)
        ),
        "scale squared": lambda x, w, a, b, scale: (
            F.linear(x, w) + scale**2 * F.linear(F.linear(x.to(a.dtype), a), b)
        ),
    },
    "merge_weight": {
        "the first rank alone": lambda w, a, b, scale: (
            w.to(a.dtype) + scale * (b[:, :1] @ a[:1])
        ).to(w.dtype),
        "scale added": lambda w, a, b, scale: (w.to(a.dtype) + scale + b @ a).to(w.dtype),
        "the rank as scale": lambda w, a, b, scale: (w.to(a.dtype) + len(a) * (b @ a)).to(w.dtype),
        "half of it": lambda w, a, b, scale: (w.to(a.dtype) + scale / 2 * (b @ a)).to(w.dtype),
        "scale squared": lambda w, a, b, scale: (w.to(a.dtype) + scale**2 * (b @ a)).to(w.dtype),
    },
    "masked_mean": {
        "unit length": lambda hidden, mask: F.normalize(
            (hidden * mask[..., None].to(hidden)).sum(1), dim=-1
        ),
        "the largest of each channel": lambda hidden, mask: hidden.masked_fill(
            ~mask.bool()[..., None], -1e9
        ).amax(1),
        "numbers that are not 0": lambda hidden, mask: (
            (hidden * mask[..., None]).sum(1) / (hidden * mask[..., None] != 0).sum(1).clamp(min=1)
        ),
        "the first as many": lambda hidden, mask: torch.stack(
            [
                row[:n].sum(0) / max(n, 1)
                for row, n in zip(hidden, mask.sum(1).tolist(), strict=True)
            ]
        ),
        "the root of the count": lambda hidden, mask: (
            (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1).sqrt()
        ),
        "one token too many": lambda hidden, mask: (
            (hidden * mask[..., None].to(hidden)).sum(1)
            / (mask.sum(1, keepdim=True).to(hidden) + 1)
        ),
    },
}

"""Wrong answers that no exercise of this lesson names, which its checks refuse all the same."""

import torch.nn.functional as F

from course_lib.lm.finetune import response_mask


def prompt(instruction, shots, question, colon=":"):
    parts = [instruction] if instruction else []
    parts += [f"Input{colon} {a}\nOutput{colon} {b}" for a, b in shots]
    return "\n\n".join([*parts, f"Input{colon} {question}\nOutput{colon}"])


UNFORESEEN = {
    "few_shot_prompt": {
        "a blank before each colon": lambda *args: prompt(*args, colon=" :"),
        "only the first example": lambda text, shots, question: prompt(text, shots[:1], question),
        "sorted examples": lambda text, shots, question: prompt(text, sorted(shots), question),
    },
    "response_mask": {
        "the last prompt token too": lambda prompt, lengths, T: response_mask(
            (prompt - 1).clamp(min=0), lengths, T
        ),
        "as long as the longest": lambda prompt, lengths, T: response_mask(
            prompt, lengths.amax().expand_as(lengths), T
        ),
    },
    "lora_forward": {
        "through a ReLU": lambda x, w, a, b, scale: (
            F.linear(x, w) + scale * F.linear(F.relu(F.linear(x.to(a.dtype), a)), b)
        ),
        "scale squared": lambda x, w, a, b, scale: (
            F.linear(x, w) + scale**2 * F.linear(F.linear(x.to(a.dtype), a), b)
        ),
    },
    "merge_weight": {
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
        "one token too many": lambda hidden, mask: (
            (hidden * mask[..., None].to(hidden)).sum(1)
            / (mask.sum(1, keepdim=True).to(hidden) + 1)
        ),
    },
}

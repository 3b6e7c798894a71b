"""Wrong answers that no exercise of this lesson names, which its checks refuse all the same."""

import torch.nn.functional as F

from course_lib.lm.finetune import response_mask

UNFORESEEN = {
    "few_shot_prompt": {
        "a blank before each colon": lambda instruction, shots, question: "\n\n".join(
            [
                *([instruction] if instruction else []),
                *(f"Input : {a}\nOutput : {b}" for a, b in shots),
                f"Input : {question}\nOutput :",
            ]
        ),
        "only the first example": lambda instruction, shots, question: "\n\n".join(
            [
                *([instruction] if instruction else []),
                *(f"Input: {a}\nOutput: {b}" for a, b in shots[:1]),
                f"Input: {question}\nOutput:",
            ]
        ),
        "sorted examples": lambda instruction, shots, question: "\n\n".join(
            [
                *([instruction] if instruction else []),
                *(f"Input: {a}\nOutput: {b}" for a, b in sorted(shots)),
                f"Input: {question}\nOutput:",
            ]
        ),
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

# ruff: noqa: F811
# %% imports
import numpy as np
import torch
import torch.nn.functional as F


# %% few_shot_prompt: a text that grows
def few_shot_prompt(instruction, shots, question):
    text = ""
    if instruction != "":
        text += instruction + "\n\n"
    for shot in shots:
        text += "Input: " + shot[0] + "\nOutput: " + shot[1] + "\n\n"
    return text + "Input: " + question + "\nOutput:"


# %% few_shot_prompt: the question as a shot without an answer
def few_shot_prompt(instruction, shots, question):
    blocks = [instruction, *("Input: %s\nOutput: %s" % shot for shot in [*shots, (question, "")])]  # noqa: UP031
    return "\n\n".join(filter(None, blocks)).rstrip()


# %% few_shot_prompt: line by line
def few_shot_prompt(instruction, shots, question):
    lines = [instruction, ""]
    for asked, answered in shots:
        lines.extend([f"Input: {asked}", f"Output: {answered}", ""])
    lines += [f"Input: {question}", "Output:"]
    return "\n".join(lines if instruction else lines[2:])


# %% few_shot_prompt: recursion
def few_shot_prompt(instruction, shots, question):
    if instruction:
        return instruction + "\n\n" + few_shot_prompt("", shots, question)
    if not shots:
        return f"Input: {question}\nOutput:"
    (asked, answered), *others = shots
    return f"Input: {asked}\nOutput: {answered}\n\n" + few_shot_prompt("", others, question)


# %% response_mask: loops
def response_mask(prompt_lengths, lengths, T):
    mask = torch.zeros(len(lengths), T, dtype=torch.bool)
    for row, (prompt, total) in enumerate(zip(prompt_lengths, lengths, strict=True)):
        mask[row, prompt:total] = True
    return mask


# %% response_mask: all that is read, without the prompt
def before(lengths, T):
    return torch.arange(T).expand(len(lengths), T) < lengths.unsqueeze(1)


def response_mask(prompt_lengths, lengths, T):
    return before(lengths, T) & ~before(prompt_lengths, T)


# %% response_mask: NumPy
def response_mask(prompt_lengths, lengths, T):
    start, end = prompt_lengths.numpy()[:, None], lengths.numpy()[:, None]
    column = np.arange(T)[None, :]
    return torch.from_numpy(np.logical_and(start <= column, column < end))


# %% response_mask: steps up and down, added up
def response_mask(prompt_lengths, lengths, T):
    steps = torch.zeros(len(lengths), T + 1, dtype=torch.long)
    rows = torch.arange(len(lengths))
    steps[rows, prompt_lengths] += 1
    steps[rows, lengths] -= 1
    return steps.cumsum(dim=1)[:, :T] == 1


# %% response_mask: a list of lists
def response_mask(prompt_lengths, lengths, T):
    pairs = list(zip(prompt_lengths.tolist(), lengths.tolist(), strict=True))
    return torch.tensor([[p <= t < n for t in range(T)] for p, n in pairs])


# %% lora_forward: transposed matrices
def lora_forward(x, weight, a, b, scale):
    frozen = x @ weight.T
    learned = x.float() @ a.T @ b.T
    return frozen + (scale * learned).to(x.dtype)


# %% lora_forward: added in float32, rounded once
def lora_forward(x, weight, a, b, scale):
    wide = x.to(torch.float32)
    total = F.linear(wide, weight.float()) + scale * F.linear(F.linear(wide, a), b)
    return total.type_as(x)


# %% lora_forward: einsum
def lora_forward(x, weight, a, b, scale):
    narrow = torch.einsum("...i,ri->...r", x.to(a.dtype), a)
    correction = torch.einsum("...r,or->...o", narrow, b).mul(scale)
    return torch.einsum("...i,oi->...o", x, weight) + correction.to(x.dtype)


# %% lora_forward: one matrix for both
def lora_forward(x, weight, a, b, scale):
    matrix = weight.to(a.dtype) + scale * b @ a
    return (x.to(a.dtype) @ matrix.t()).to(x.dtype)


# %% lora_forward: rank by rank
def lora_forward(x, weight, a, b, scale):
    out = F.linear(x, weight).float()
    for row, column in zip(a, b.T, strict=True):
        strength = (x.float() * row).sum(-1, keepdim=True)
        out = out + scale * strength * column
    return out.to(x.dtype)


# %% merge_weight: addmm
def merge_weight(weight, a, b, scale):
    return torch.addmm(weight.float(), b, a, alpha=scale).to(weight.dtype)


# %% merge_weight: what the layer does to each unit vector
def merge_weight(weight, a, b, scale):
    units = torch.eye(weight.shape[1])
    columns = units @ weight.float().T + scale * (units @ a.T @ b.T)
    return columns.T.contiguous().to(weight.dtype)


# %% merge_weight: outer products, in double precision
def merge_weight(weight, a, b, scale):
    merged = weight.double()
    for rank in range(a.shape[0]):
        merged = merged + scale * torch.outer(b[:, rank].double(), a[rank].double())
    return merged.to(weight.dtype)


# %% merge_weight: einsum
def merge_weight(weight, a, b, scale):
    correction = torch.einsum("or,ri->oi", scale * b, a)
    return (correction + weight).type(weight.dtype)


# %% masked_mean: sentence by sentence
def masked_mean(hidden, mask):
    means = torch.zeros(hidden.shape[0], hidden.shape[2])
    for b, (vectors, real) in enumerate(zip(hidden, mask, strict=True)):
        if real.any():
            means[b] = vectors[real].mean(dim=0)
    return means


# %% masked_mean: as in sentence-transformers
def masked_mean(hidden, mask):
    expanded = mask.unsqueeze(-1).expand(hidden.size()).float()
    return torch.sum(hidden * expanded, 1) / torch.clamp(expanded.sum(1), min=1e-9)


# %% masked_mean: weights that sum to 1
def masked_mean(hidden, mask):
    weights = mask.float() / mask.sum(1, keepdim=True)
    return torch.einsum("bt,btc->bc", weights.nan_to_num(0.0), hidden)


# %% masked_mean: nanmean
def masked_mean(hidden, mask):
    return hidden.masked_fill(~mask[:, :, None], torch.nan).nanmean(dim=1).nan_to_num()


# %% masked_mean: torch.where twice
def masked_mean(hidden, mask):
    total = torch.where(mask.unsqueeze(2), hidden, 0.0).sum(1)
    count = mask.sum(1).unsqueeze(1)
    return torch.where(count > 0, total / count, torch.zeros_like(total))


# %% masked_mean: a matrix product, NumPy and back
def masked_mean(hidden, mask):
    h, m = hidden.numpy(), mask.numpy().astype("float32")
    total = np.matmul(m[:, None, :], h)[:, 0]
    return torch.from_numpy(total / np.maximum(m.sum(1, keepdims=True), 1))


# %% train_lora: gradients by hand, token by token, in NumPy
def train_lora(updates, weight, a, b, scale, learning_rate):
    W, A, B = (m.double().numpy().copy() for m in (weight, a, b))
    for update in updates:
        n, dA, dB = 0, np.zeros_like(A), np.zeros_like(B)
        for hidden, tokens, mask in update:
            for row in range(len(tokens)):
                for t in range(1, tokens.shape[1]):
                    if not mask[row, t]:
                        continue
                    u = hidden[row, t - 1].double().numpy()
                    z = W @ u + scale * (B @ (A @ u))
                    p = np.exp(z - z.max())
                    p = p / p.sum()
                    p[tokens[row, t].item()] -= 1
                    dB += scale * np.outer(p, A @ u)
                    dA += scale * np.outer(B.T @ p, u)
                    n += 1
        A = A - learning_rate * dA / n
        B = B - learning_rate * dB / n
    return torch.tensor(A).float(), torch.tensor(B).float()


# %% train_lora: a module with two parameters, cross entropy with ignored labels
class Adapted(torch.nn.Module):
    def __init__(self, weight, a, b, scale):
        super().__init__()
        self.register_buffer("weight", weight)
        self.a = torch.nn.Parameter(a.clone())
        self.b = torch.nn.Parameter(b.clone())
        self.scale = scale

    def forward(self, x):
        return x @ self.weight.t() + self.scale * (x @ self.a.t()) @ self.b.t()


def train_lora(updates, weight, a, b, scale, learning_rate):
    model = Adapted(weight, a, b, scale)
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)
    for micro_batches in updates:
        tokens_learned = torch.cat([mask.flatten() for _, _, mask in micro_batches]).sum()
        for hidden, tokens, mask in micro_batches:
            labels = torch.where(mask, tokens, torch.full_like(tokens, -100))
            loss = F.cross_entropy(
                model(hidden)[:, :-1].reshape(-1, len(weight)),
                labels[:, 1:].reshape(-1),
                reduction="sum",
            )
            (loss / tokens_learned).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.a.data, model.b.data


# %% train_lora: all tokens of an update in one list, no micro-batches, no optimiser
def train_lora(updates, weight, a, b, scale, learning_rate):
    def loss_of(a, b, x, y):
        logits = x @ (weight + scale * b @ a).T
        return (logits.logsumexp(-1) - logits[torch.arange(len(y)), y]).mean()

    for update in updates:
        x = torch.cat([h[:, :-1][m[:, 1:]] for h, _, m in update])
        y = torch.cat([t[m] for _, t, m in update])
        a, b = a.detach().requires_grad_(), b.detach().requires_grad_()
        of_a, of_b = torch.autograd.grad(loss_of(a, b, x, y), (a, b))
        a, b = a - learning_rate * of_a, b - learning_rate * of_b
    return a, b

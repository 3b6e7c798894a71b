"""Changes of this lesson's references that make no difference, with the reason for each."""

EQUIVALENT: dict[str, dict[str, str]] = {
    "return_to_go": {
        "0 -> -1, in following = torch.zeros_like(rewards[0])": "all rows have the same shape",
    },
    "gae": {
        "0 -> -1, in trace = torch.zeros_like(deltas[0])": "all rows have the same shape",
    },
    "learn_from_batches": {
        "logits.detach() -> logits, in return (logits.detach(), values.detach())": "its numbers "
        "count, and they are the same",
        "values.detach() -> values, in return (logits.detach(), values.detach())": "its numbers "
        "count, and they are the same",
        "logits.detach() -> logits, in rows, policy = ([], torch.softmax("
        "logits.detach(), dim=-1))": "a draw carries no gradient",
        "True -> False, in states, actions, rewards, next_states, *ends = map(torch.ten": "all "
        "rows have the same length",
    },
}

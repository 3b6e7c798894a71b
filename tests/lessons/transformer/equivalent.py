"""Changes of this lesson's references that make no difference, with the reason for each."""

# The hint, `before >= p`, is right too: no case puts a sum within 1e-6 of p, where the rounding of
# float32 decides, in one right formula this way and in another that way.
ROUNDING = "at a sum within 1e-6 of p, rounding decides: no case asks for it"
LINE = "in ordered = ordered.masked_fill(before >= p - 1e-06, -torch.in"

EQUIVALENT: dict[str, dict[str, str]] = {
    "top_p_filter": {
        f"before >= p - 1e-06 -> before > p - 1e-06, {LINE}": ROUNDING,
        f"p - 1e-06 -> p + 1e-06, {LINE}": ROUNDING,
        f"p - 1e-06 -> p, {LINE}": ROUNDING,
    }
}

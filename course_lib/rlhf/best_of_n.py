"""Best-of-n: write n responses, keep the one that the reward model likes best. Nothing is trained.

The plainest way to get more reward out of a model (Stiennon et al., arXiv 2009.01325; Nakano et
al., "WebGPT", 2112.09332), and the plainest way to fool a reward model: the more responses it may
choose from, the further out it has to judge. How far the choice moves away from the model that
wrote the responses depends on n alone, ``kl``, which makes best-of-n a measuring rod: Gao et al.,
arXiv 2210.10760, draw their curves against the square root of it.

``best_value`` gets the value of best-of-n for *every* n from one set of N responses, without
drawing anew. Left out: choosing softly (rejection sampling, 2112.00861), training on what was
chosen.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def kl(n: int) -> float:
    """KL(best-of-n || model) in nats per response: ``log n - (n - 1) / n``.

    Exact where no two responses are equally good (Stiennon et al., appendix G.3), else an upper
    bound (Beirami et al., arXiv 2401.01879).
    """
    if n < 1:
        raise ValueError(f"best of n needs n of at least 1, got {n}")
    return math.log(n) - (n - 1) / n


def best_value(proxy: Tensor, value: Tensor, n: int) -> Tensor:
    """The mean ``value`` of the response that ``proxy`` likes best among n drawn ones, (...).

    ``proxy`` and ``value`` (..., N) are of N responses, N at least n. This is the mean over *all*
    ways to draw n of them without replacement, so it uses every response, and its expectation is
    exactly the value of best-of-n (Nakano et al., appendix I). Sorted by the proxy, the response
    number i (from 1) is the best of a draw with probability C(i - 1, n - 1) / C(N, n).
    """
    N = proxy.shape[-1]
    if not 1 <= n <= N:
        raise ValueError(f"n must lie in [1, {N}], the number of responses, got {n}")
    ordered = value.double().gather(-1, proxy.argsort(dim=-1, stable=True))
    i = torch.arange(n, N + 1, dtype=torch.float64)  # lower ones are never the best of n
    return (ordered[..., n - 1 :] * (_log_choose(i - 1, n - 1) - _log_choose(N, n)).exp()).sum(-1)


def _log_choose(n: Tensor | float, k: float) -> Tensor:
    """log of n over k. The numbers themselves overflow at some hundreds."""
    n, k = torch.as_tensor(n, dtype=torch.float64), torch.as_tensor(k, dtype=torch.float64)
    return torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)


def curve(proxy: Tensor, true: Tensor, ns: Sequence[int]) -> list[dict[str, float]]:
    """One record per n, the mean over prompts: "n", "kl", "proxy", "true".

    ``proxy`` and ``true`` (P, N): N responses to each of P prompts.
    """
    return [
        {
            "n": n,
            "kl": float(kl(n)),
            "proxy": float(best_value(proxy, proxy, n).mean()),
            "true": float(best_value(proxy, true, n).mean()),
        }
        for n in ns
    ]

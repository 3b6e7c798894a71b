"""What the settings of a run may be: one way to say it for every `Config`.

def __post_init__(self) -> None:
    check(self, above_0="learning_rate clip", fraction="gamma lam", at_least_1="epochs")
"""

from collections.abc import Callable
from typing import Any

_LIMITS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "at_least_1": (lambda x: x >= 1, "be at least 1"),
    "above_0": (lambda x: x > 0, "be above 0"),
    "not_negative": (lambda x: x >= 0, "not be negative"),
    "fraction": (lambda x: 0 <= x <= 1, "lie in [0, 1]"),
    "share": (lambda x: 0 < x <= 1, "lie in (0, 1]"),
}


def check(
    config: Any,
    *rules: tuple[str, Callable[[Any], bool], str],
    at_least_1: str = "",
    above_0: str = "",
    not_negative: str = "",
    fraction: str = "",
    share: str = "",
    optional: str = "",
) -> None:
    """Raise ValueError for the first field of ``config`` that breaks its limit.

    Each argument names fields, separated by blanks: ``fraction`` in [0, 1], ``share`` in (0, 1].
    Those in ``optional`` may be None. A rule of your own is (fields, what must hold, in words):
    ``("hidden", lambda sizes: min(sizes) > 0, "name layers of at least one unit")``.
    """
    named = zip((at_least_1, above_0, not_negative, fraction, share), _LIMITS.values(), strict=True)
    may_be_none = optional.split()
    for fields, holds, words in [*rules, *((fields, *limit) for fields, limit in named)]:
        for field in fields.split():
            value = getattr(config, field)
            if value is None and field in may_be_none:
                continue
            if not holds(value):
                ending = ", or be None" if field in may_be_none else ""
                raise ValueError(f"{field} must {words}{ending}, got {value!r}")

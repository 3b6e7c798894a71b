"""Put your own function, or a mistake, in the place of the library's while a run lasts.

    history = track(dqn.train(agent, envs, config), use=[td_target])

    with use(bellman_backup):
        q = tabular.value_iteration(model, gamma)

The algorithms know nothing of this: no parameter of theirs exists so that a learner's function can
be put in. `use` finds every module of the library that holds the reference under some name, binds
that name to a stand-in, and binds it back when the block ends, by whatever way it ends.

While your function runs, the library's name means the library's function again: an answer that
calls `dqn.td_target` itself does not end in itself.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

# The classroom and the exercises compare with the reference, so there it stays in its place.
UNTOUCHED = ("course_lib.classroom", "course_lib.commands")


class Replacement(Protocol):
    """What `@exercise` binds a name to, and what `Exercise.mistake` returns."""

    reference: Callable  # the library's function
    function: Callable  # what takes its place


@dataclass(frozen=True)
class StandIn:
    """A function that `use` puts in the place of ``reference``; called, it is that function."""

    reference: Callable
    function: Callable

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


@contextlib.contextmanager
def use(*replacements: Replacement | Mapping[Callable, Callable]) -> Iterator[None]:
    """While the block lasts, the library calls these functions instead of its own.

    Each is an exercise of yours, a mistake of `exercises.NAME.mistake(...)`, or a dictionary from
    functions of the library to what takes their place. Blocks may be nested, and may end in any
    order; of several replacements of one function the one that began last counts. Raises
    ValueError where no module of the library holds the function, since it would change nothing.
    """
    pairs = [pair for replacement in replacements for pair in _pairs(replacement)]
    with contextlib.ExitStack() as stack:
        for reference, function in pairs:
            stack.enter_context(_replaced(reference, function))
        yield


def _pairs(replacement: Replacement | Mapping[Callable, Callable]) -> list[tuple]:
    if isinstance(replacement, Mapping):
        return list(replacement.items())
    try:
        return [(replacement.reference, replacement.function)]
    except AttributeError:
        raise TypeError(
            "use takes exercises, mistakes, or a dictionary {library's function: yours}, "
            f"got {replacement!r}"
        ) from None


class _Switch:
    """The one stand-in of a reference: it calls the replacement that began last, if any."""

    def __init__(self, reference: Callable):
        self.reference = reference
        self.replacements: list[Callable] = []
        self.running = False

        @functools.wraps(reference)
        def stand_in(*args: Any, **kwargs: Any) -> Any:
            if self.running or not self.replacements:
                return reference(*args, **kwargs)
            self.running = True
            try:
                return self.replacements[-1](*args, **kwargs)
            finally:
                self.running = False

        self.stand_in = stand_in


_switches: dict[Callable, _Switch] = {}


@contextlib.contextmanager
def _replaced(reference: Callable, function: Callable) -> Iterator[None]:
    if function is reference:  # not attempted, or wrong: the library's own is used
        yield
        return
    switch = _switches.setdefault(reference, _Switch(reference))
    entry = functools.partial(function)  # a thing of its own: one function may be used twice
    try:
        switch.replacements.append(entry)
        found = _bind(reference, switch.stand_in)  # each time: a module may have come since
        if not found and len(switch.replacements) == 1:
            raise ValueError(f"no module of the library holds a function {reference!r}")
        yield
    finally:  # blocks may end in another order than they began
        switch.replacements[:] = [other for other in switch.replacements if other is not entry]
        if not switch.replacements:
            _bind(switch.stand_in, reference)


def _bind(old: Callable, new: Callable) -> int:
    """Bind every name of the library that means ``old`` to ``new``; return how many did."""
    count = 0
    for module_name, module in list(sys.modules.items()):
        if not module_name.startswith("course_lib.") or module_name.startswith(UNTOUCHED):
            continue
        if module_name.endswith(".exercises"):
            continue
        for name, value in list(vars(module).items()):
            if value is old:
                setattr(module, name, new)
                count += 1
    return count

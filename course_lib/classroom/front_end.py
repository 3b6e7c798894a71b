"""Where the output goes: a notebook, which can show HTML and widgets, or a terminal."""

import sys


def in_notebook() -> bool:
    """True inside a Jupyter kernel, whose front end can show HTML and update a display."""
    if "IPython" not in sys.modules:  # a kernel has loaded it; nobody else needs to
        return False
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel")

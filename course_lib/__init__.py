"""Reinforcement learning and foundation models, taught with real implementations.

Importing the package itself costs nothing: each subpackage imports only what it needs.
"""

import codecs
import sys

__version__ = "0.1.0"

# For terminals and files whose encoding lacks the signs that the course prints (cp1252, ascii).
PLAIN = {"✓": "+", "✗": "x", "○": "o", "·": ".", "→": "->", "−": "-", "…": "...", "’": "'"}


def _plain(error):
    text = error.object[error.start : error.end]
    signs = (PLAIN.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in text)
    return "".join(signs), error.end


codecs.register_error("plain", _plain)
for _stream in (sys.stdout, sys.stderr):
    if getattr(_stream, "errors", None) in ("strict", "backslashreplace"):
        getattr(_stream, "reconfigure", lambda **_: None)(errors="plain")

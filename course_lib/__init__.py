"""Reinforcement learning and foundation models, taught with real implementations.

Importing the package itself costs nothing: each subpackage imports only what it needs.
"""

import codecs
import sys

__version__ = "0.1.0"

# What is printed where a terminal's encoding (cp1252, ascii) lacks a sign.
PLAIN = {"✓": "+", "✗": "x", "○": "o", "·": ".", "→": "->", "−": "-", "…": "...", "’": "'"}
codecs.register_error(
    "plain",
    lambda e: ("".join(PLAIN.get(c, ascii(c)[1:-1]) for c in e.object[e.start : e.end]), e.end),
)
for _stream in (sys.stdout, sys.stderr):
    if hasattr(_stream, "reconfigure"):
        _stream.reconfigure(errors="plain")

"""Reinforcement learning and foundation models, taught with real implementations.

Importing the package itself costs nothing: each subpackage imports only what it needs.
"""

__version__ = "0.1.0"

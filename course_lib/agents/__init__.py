"""Agents that are sequence models: a transformer that plays."""

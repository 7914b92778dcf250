"""Federated methods side by side, and populations of a million clients."""

"""Calls that make no sense, and what they are made of."""

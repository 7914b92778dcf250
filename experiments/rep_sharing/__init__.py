"""Representation sharing (Berdoz, Singh, Jaggi and Raskar 2022)."""

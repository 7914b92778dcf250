"""Experiments of Yuksel et al. 2021, arXiv 2108.07958."""

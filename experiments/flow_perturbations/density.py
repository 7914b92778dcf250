"""Bits per dimension of a flow alone, and pictures of its latent space.

Semantic perturbations with normalizing flows, arXiv 2108.07958, the Glow for CIFAR-10.

    python -m experiments flow_perturbations cifar10_flow

the paper's Glow on CIFAR-10: 3 levels of 32 steps, width 512.
Cost: a GPU for a day, CIFAR-10 in JCOLLAB_DATA.
Expected: held-out images at most 3.6 bits per dimension.
"""

from experiments.contract import Claims, Context, Row, Rows, at_most
from experiments.flow_perturbations import _flow


class Config(_flow.Config):
    """A flow alone: bits per dimension, samples, perturbed images."""

    bits: float = 8.0  # largest bits per dimension of held-out images that the claim allows


figures = _flow.figures
PRESETS = {"cifar10_flow": Config(**_flow.PAPERS_FLOW, fraction=1.0, flow_rounds=200_000, bits=3.6)}
SMOKE = {"cifar10_flow": _flow.SMALL}


def run(config: Config, context: Context) -> Rows:
    """Yields one row of kind ``flow``."""
    problem = _flow.make_problem(config)
    params = _flow.train_flow(problem, context)
    if not context.stop.is_set():
        context.kept["flow"] = problem, params
        yield _flow.measure_flow(problem, params)


def claims(config: Config, rows: list[Row]) -> Claims:
    """Likelihood of held-out images, and invertibility."""
    yield from _flow.claims(config, rows)
    yield at_most("bits per dimension of held-out images", rows[0]["bits_held_out"], config.bits)

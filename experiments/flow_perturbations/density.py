"""A flow alone: bits per dimension of held-out images, and pictures."""

from __future__ import annotations

from experiments.contract import Claim, Context, Row
from experiments.flow_perturbations import comparison, data, figures
from experiments.flow_perturbations import flow as flow_of
from experiments.flow_perturbations.kinds import Density


def run(config: Density, context: Context) -> list[Row]:
    """One row of kind ``flow``."""
    images = data.make(config)
    params = flow_of.trained(config, images, context)
    if params is None:
        return []
    row = flow_of.measure(config, images, params)
    context.log().write(row)
    figures.density_pictures(config, images, (flow_of.make(config, images), params), context)
    return [row]


def claims(config: Density, rows: list[Row]) -> list[Claim]:
    """Likelihood of held-out images, and that the flow is one."""
    bits = rows[0]["bits_held_out"]
    return [
        *comparison.flow_claims(config, rows),
        Claim("bits per dimension of held-out images", f"<= {config.bits:g}", bits,
              bool(bits <= config.bits)),
    ]  # fmt: skip

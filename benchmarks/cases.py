"""The workloads W1 to W8: their names, and the sizes that every program receives."""

from __future__ import annotations

from typing import Any, NamedTuple


class Case(NamedTuple):
    """One workload, which a program builds with ``kind(**sizes)``.

    Attributes:
        name: as in the tables; the first word is the workload.
        unit: what is timed.
        kind: the function of a program's file that builds it.
        sizes: the arguments of that function.
        smoke: those that are smaller in a smoke test.
        units: how many units one call of the program computes.
    """

    name: str
    unit: str
    kind: str
    sizes: dict[str, Any]
    smoke: dict[str, Any]
    units: int = 1

    def arguments(self, smoke: bool) -> dict[str, Any]:
        """Returns the arguments of the function that builds the program."""
        return {**self.sizes, **self.smoke} if smoke else self.sizes


def _rounds(name: str, clients: int, model: str) -> Case:
    """Builds a round of FedAvg: 60 images of 28 x 28 each, three steps of 20."""
    sizes = {"model": model, "clients": clients, "steps": 3, "batch": 20, "rate": 0.05}
    small = {"clients": 2, "batch": 2}
    return Case(f"{name} FedAvg, {clients} clients, {model}", "round", "federated", sizes, small)


def _ring(clients: int) -> Case:
    sizes = {"clients": clients, "features": 64, "hidden": 64, "classes": 10, "batch": 32}
    sizes |= {"rounds": 20, "rate": 0.05}
    small = {"clients": 4, "features": 8, "hidden": 8, "batch": 2}
    return Case(f"W3 D-PSGD, ring of {clients}", "round", "ring", sizes, small, units=20)


def _rule(title: str, **options: Any) -> Case:
    sizes = {"models": 100, "size": 1_000_000, **options}
    small = {"models": 24, "size": 1_000}
    return Case(f"W4 {title}, 100 x 1e6", "call", "rule", sizes, small)


def _attention(title: str, kind: str = "attention", **options: Any) -> Case:
    sizes = {**options, "clients": 10, "steps": 10, "batch": 16}
    sizes |= {"length": 64, "width": 128, "layers": 2, "heads": 4, "vocabulary": 75}
    small = {"clients": 2, "steps": 2, "batch": 2, "length": 8, "width": 16, "heads": 2}
    return Case(f"W6 Transformer, {title}", "round", kind, sizes, small)


def _network(network: str, width: int, title: str, steps: int) -> Case:
    sizes = {"network": network, "width": width, "batch": 32, "steps": steps, "rate": 0.01}
    small = {"width": 2, "batch": 2}
    return Case(f"W7 {title}, one step", "step", "network", sizes, small, units=steps)


def _gossip(network: str, width: int, title: str) -> Case:
    sizes = {"network": network, "width": width, "batch": 32, "clients": 16, "rate": 0.01}
    small = {"width": 2, "batch": 2, "clients": 4}
    return Case(f"W7 {title}, gossip of 16", "round", "gossip", sizes, small)


def _glow(side: int, channels: int) -> Case:
    sizes = {"side": side, "channels": channels, "levels": 2, "steps": 8, "width": 64}
    sizes |= {"batch": 32, "rate": 1e-3, "updates": 5}
    small = {"side": 8, "steps": 2, "width": 4, "batch": 4}
    return Case(f"W8 Glow, {side} x {side} x {channels}", "step", "glow", sizes, small, units=5)


CASES = (
    _rounds("W1", 100, "CNN"),
    _rounds("W2", 1000, "MLP"),
    _ring(16),
    _ring(64),
    _rule("median", rule="median"),
    _rule("trimmed mean", rule="trimmed_mean", trim=10),
    _rule("Krum", rule="krum", byzantine=10),
    _rule("geometric median", rule="geometric_median", steps=8),
    _rule("centered clipping", rule="centered_clip", radius=1.0, steps=1),
    Case(
        "W5 next character, GRU 128",
        "round",
        "recurrent",
        {
            **{"clients": 814, "sampled": 10, "steps": 10, "batch": 10, "length": 40},
            **{"vocabulary": 75, "embedding": 8, "width": 128, "rate": 0.5},
        },
        {"clients": 6, "sampled": 2, "steps": 2, "batch": 2, "length": 5, "width": 8},
    ),
    _attention("SGD", optimizer="SGD", rate=0.1),
    _attention("AdamW", optimizer="AdamW", rate=1e-3),
    _attention("DiLoCo", kind="diloco", rate=1e-3),
    _network("VGG11", 64, "VGG-11, width 64", steps=2),
    _network("VGG11", 8, "VGG-11, width 8", steps=20),
    _network("ResNet20", 16, "ResNet-20", steps=5),
    _network("ResNet18", 64, "ResNet-18", steps=2),
    _gossip("VGG11", 8, "VGG-11, width 8"),
    _gossip("ResNet20", 16, "ResNet-20"),
    _glow(28, 1),
    _glow(32, 3),
)
NAMES = tuple(sorted({case.name.split()[0].lower() for case in CASES}))


def of(names: tuple[str, ...], among: tuple[Case, ...] = CASES) -> list[Case]:
    """Returns the cases whose names begin with one of ``names``, such as ``w4`` or ``w4 krum``.

    Raises:
        ValueError: if no case begins with a name.
    """
    starts = tuple(name.lower() for name in names)
    for start in starts:
        if not any(case.name.lower().startswith(start) for case in among):
            known = ", ".join(case.name for case in among)
            raise ValueError(f"names must begin names of cases ({known}), got {start!r}")
    return [case for case in among if case.name.lower().startswith(starts)]

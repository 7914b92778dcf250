"""Draws the pictures of the architecture page: ``python docs/drawings.py``.

The arrows of the first picture are read from the source, so the module imports nothing of jcollab.
"""

from __future__ import annotations

import ast
import itertools
import pathlib
from collections.abc import Callable, Sequence

import matplotlib
import networkx as nx
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

DOCS = pathlib.Path(__file__).parent
LIBRARY = DOCS.parent / "jcollab"
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "jcollab", "font.size": 11}
INK = "#1f2933"
BLUE, GREEN, ORANGE = ("#dbeafe", "#1d5fa8"), ("#d8f3e3", "#11734f"), ("#ffe8cc", "#b4530a")
PURPLE, PINK, GRAY = ("#ebe1fb", "#6b3fb5"), ("#fde2ec", "#b0306a"), ("#eceff3", "#52606d")
Color = tuple[str, str]  # of the inside, and of edges, lines and labels
Point = tuple[float, float]


class Card:
    """A white card, narrow for telephones, for light and dark pages; inches from the upper left."""

    def __init__(self, height: float, width: float = 5.3) -> None:
        self.figure = Figure(figsize=(width, height))
        self.ax = self.figure.add_axes((0, 0, 1, 1))
        self.ax.set(xlim=(0, width), ylim=(height, 0))
        self.ax.axis("off")
        frame = {"color": ("white", "#cbd2d9"), "zorder": 0, "radius": 0.14}
        self._patch(0.03, 0.03, width - 0.06, height - 0.06, **frame)

    def box(self, x: float, y: float, w: float, h: float, text: str, color: Color, **font) -> None:
        """A box around a center, with a text; ``font`` as of matplotlib."""
        self._patch(x - w / 2, y - h / 2, w, h, color=color, zorder=3, radius=0.07)
        self.text(x, y, text, **font)

    def titled(
        self, x: float, y: float, w: float, h: float, title: str, below: str, color: Color
    ) -> None:
        """A box with a title and a smaller text of one line or more."""
        lines = 1 + below.count("\n")
        self.box(x, y, w, h, "", color)
        self.text(x, y - 0.1 * lines + 0.01 * (lines > 1), title, weight="bold", fontsize=10.5)
        self.text(x, y + 0.13, below, fontsize=9.5)

    def sheets(self, left: float, top: float, w: float, h: float, color: Color) -> None:
        """Sheets that lie on one another: the same for each client."""
        self._patch(left - 0.1, top - 0.12, w, h, color=color)
        self._patch(left - 0.05, top - 0.06, w, h, color=color)
        self._patch(left, top, w, h, color=("white", color[1]))

    def text(self, x: float, y: float, text: str, **font) -> None:
        """A text around a point."""
        font = {"ha": "center", "va": "center", "fontsize": 11, "color": INK} | font
        if "\n" not in text:  # capitals in the middle, whatever hangs below the line
            y, font["va"] = y + 0.005 * font["fontsize"], "baseline"
        self.ax.text(x, y, text, zorder=5, linespacing=1.35, **font)

    def label(self, x: float, y: float, text: str, color: Color) -> None:
        """A text on a line, which it interrupts."""
        pad = {"boxstyle": "square,pad=0.12", "fc": "white", "ec": "none"}
        self.text(x, y, text, color=color[1], bbox=pad, fontsize=10)

    def arrow(self, path: Path, color: str, name: str | None = None, zorder: int = 2) -> None:
        """An arrow along a path; ``name`` becomes its id in the file."""
        style = {"arrowstyle": "-|>", "mutation_scale": 11, "lw": 1.5, "capstyle": "butt"}
        arrow = FancyArrowPatch(path=path, color=color, gid=name, zorder=zorder, **style)
        self.ax.add_patch(arrow)

    def _patch(self, *place: float, color: Color, zorder: int = 1, radius: float = 0.1) -> None:
        """A rounded rectangle; ``place`` is left, top, width and height."""
        x, y, w, h = place
        style, (fc, ec) = f"round,pad=0,rounding_size={radius}", color
        self.ax.add_patch(FancyBboxPatch((x, y), w, h, style, fc=fc, ec=ec, lw=1.2, zorder=zorder))


def bent(*points: Point, radius: float = 0.12) -> Path:
    """A path of straight lines with round corners."""
    vertices, codes = [points[0]], [Path.MOVETO]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        vertices += [_toward(corner, before, radius), corner, _toward(corner, after, radius)]
        codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
    return Path([*vertices, points[-1]], [*codes, Path.LINETO])


def curved(*points: Point) -> Path:
    """A smooth path that passes every point downward."""
    vertices, codes = [points[0]], [Path.MOVETO]
    for (x, y), (u, v) in itertools.pairwise(points):
        vertices += [(x, y + (v - y) / 2), (u, v - (v - y) / 2), (u, v)]
        codes += [Path.CURVE4] * 3
    return Path(vertices, codes)


def _toward(start: Point, end: Point, length: float) -> Point:
    (x, y), (u, v) = start, end
    share = min(1.0, length / max(1e-9, ((u - x) ** 2 + (v - y) ** 2) ** 0.5))
    return x + share * (u - x), y + share * (v - y)


# The house

ROLES: dict[str, tuple[Color, Sequence[str]]] = {
    "runs": (PINK, ("text", "training")),
    "algorithms": (PURPLE, ("algorithms",)),
    "exchange": (BLUE, ("mixing", "channels", "aggregators", "topology", "privacy")),
    "one client's work": (GREEN, ("data", "flows", "models", "objectives", "local")),
    "analysis": (ORANGE, ("theory", "metrics", "plots")),
    "foundation": (GRAY, ("core", "layout", "checks")),
}
COLORS = {name: color for color, names in ROLES.values() for name in names}
# Where packages stand from left to right; the rows follow from their imports.
COLUMNS = {
    **{"plots": 4.6, "text": 2.9, "algorithms": 1.75, "mixing": 1.55, "channels": 1.35},
    **{"aggregators": 1.2, "data": 3.25, "training": 4.6, "flows": 4.6},
    **{"theory": 0.85, "objectives": 2.15, "models": 3.75, "metrics": 4.65},
    **{"privacy": 0.59, "topology": 1.54, "core": 2.35, "local": 3.18},
    **{"checks": 1.4, "layout": 3.9},
}
LIFTED = "metrics"  # to the row below what imports it: its own one is full
WIDE = {"checks": 2.3, "layout": 2.3}  # nearly every package imports them
HEIGHT, FLOOR, GAP = 0.38, 0.86, 0.12  # of a box, from row to row, and between boxes


def imports() -> nx.DiGraph:
    """Which package of the library imports which, from its source."""
    packages = {path.stem for path in LIBRARY.iterdir()}
    graph = nx.DiGraph()
    for path in sorted(LIBRARY.rglob("*.py")):
        package = path.relative_to(LIBRARY).parts[0].removesuffix(".py")
        if package == "__init__":  # the front door: it imports what users see
            continue
        graph.add_node(package)
        for node in ast.walk(ast.parse(path.read_text())):
            for name in _modules(node):
                first, other, *_ = [*name.split("."), ""]
                if first == "jcollab" and other in packages - {package}:
                    graph.add_edge(package, other)
    return graph


def _modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def house() -> Figure:
    """Packages above those that they import; arrows that follow from others are left out."""
    graph = imports()
    arrows = nx.transitive_reduction(graph)
    alone = set(nx.isolates(graph))
    floors = nx.topological_generations(graph.reverse())
    rows = [sorted(set(names) - alone - {LIFTED}) for names in floors][::-1]
    rows[0] += sorted(alone)
    rows[[sorted(graph.predecessors(LIFTED))[0] in row for row in rows].index(True) + 1] += [LIFTED]
    level = {name: 0.4 + FLOOR * i for i, names in enumerate(rows) for name in names}
    place = {name: x for names in rows for name, x in _side_by_side(names).items()}
    card = Card(0.6 + FLOOR * len(rows))
    for name, y in level.items():
        card.box(place[name], y, _width(name), HEIGHT, name, COLORS[name], weight="bold")
    taken: set[Point] = set()
    for source, target in sorted(
        arrows.edges, key=lambda edge: (level[edge[1]] - level[edge[0]], edge)
    ):  # short ones first
        between = [names for names in rows if level[source] < level[names[0]] < level[target]]
        start = (_port(source, target, arrows, place), level[source] + HEIGHT / 2)
        end = (_port(target, source, arrows, place), level[target] - HEIGHT / 2)
        boxes = [(level[row[0]], {name: place[name] for name in row}) for row in between]
        lanes = _lanes(start[0], end[0], boxes, taken)
        taken |= set(lanes)
        stops = [(x, y + side * HEIGHT / 2) for x, y in lanes for side in (-1, 1)]
        card.arrow(curved(start, *stops, end), COLORS[source][1], f"{source}-imports-{target}")
    _legend(card, level[rows[-1][0]] + 0.5)
    return card.figure


def _width(name: str) -> float:
    return WIDE.get(name, 0.26 + 0.083 * len(name))


def _side_by_side(row: list[str]) -> dict[str, float]:
    """Where the boxes of a row lie: as COLUMNS asks for, moved apart where they would overlap."""
    names, last = sorted(row, key=lambda name: COLUMNS[name]), 5.3 - 0.08
    place = {name: COLUMNS[name] for name in names}
    for left, right in itertools.pairwise(names):
        apart = (_width(left) + _width(right)) / 2 + GAP
        place[right] = max(place[right], place[left] + apart)
    for name in reversed(names):  # back into the card
        place[name] = min(place[name], last - _width(name) / 2)
        last = place[name] - _width(name) / 2 - GAP
    return place


def _port(package: str, other: str, arrows: nx.DiGraph, place: dict[str, float]) -> float:
    """Where an arrow leaves or meets a box: side by side, in the order of the other ends."""
    down = arrows.has_edge(package, other)
    ends = arrows.successors(package) if down else arrows.predecessors(package)
    ends = sorted(ends, key=lambda name: place[name])
    space = min(0.4 if package in WIDE else 0.17, (_width(package) - 0.2) / max(1, len(ends) - 1))
    return place[package] + space * (ends.index(other) - (len(ends) - 1) / 2)


def _lanes(
    start: float, end: float, rows: list[tuple[float, dict[str, float]]], taken: set[Point]
) -> list[Point]:
    """Where an arrow passes the rows between its ends: beside boxes and other arrows."""
    best: dict[float, tuple[float, list[Point]]] = {start: (0.0, [])}
    for y, boxes in rows:
        free = [
            x / 100
            for x in range(14, 518, 2)
            if all(abs(x / 100 - at) > _width(name) / 2 + 0.07 for name, at in boxes.items())
            if all(abs(x / 100 - other) > 0.08 for other, level in taken if level == y)
        ]
        best = {
            x: min(
                (cost + abs(x - old) ** 1.5, [*way, (x, y)]) for old, (cost, way) in best.items()
            )
            for x in free
        }
    return min((cost + abs(end - x) ** 1.5, way) for x, (cost, way) in best.items())[1]


def _legend(card: Card, y: float) -> None:
    for i, (role, (color, _)) in enumerate(ROLES.items()):
        x, down = 0.35 + 1.76 * (i % 3), y + 0.3 * (i // 3)
        card.box(x, down, 0.2, 0.2, "", color)
        card.text(x + 0.2, down, role, ha="left", fontsize=11)


# The rounds: keys and data on the left, functions in the middle, the state on the right

LEFT, LEFT_WIDTH, MIDDLE, MIDDLE_WIDTH = 0.81, 1.18, 2.97, 1.64
AFTER_LEFT = LEFT + LEFT_WIDTH / 2
BEFORE_MIDDLE, AFTER_MIDDLE = MIDDLE - MIDDLE_WIDTH / 2, MIDDLE + MIDDLE_WIDTH / 2
STATE, STATE_WIDTH = 4.92, 0.6
BEFORE_STATE = STATE - STATE_WIDTH / 2


class RoundCard(Card):
    """A card with the key of the run, and the state as a bar along which time runs down."""

    def __init__(self, name: str, height: float) -> None:
        super().__init__(height)
        self.text(MIDDLE, 0.45, name, weight="bold", fontsize=12)
        self.text(MIDDLE, 0.7, "one round", fontsize=10)
        bottom = height - 0.22
        self.box(STATE, (0.22 + bottom) / 2, STATE_WIDTH, bottom - 0.22, "", GREEN)
        for y, title, below in ((0.42, "State", "round t"), (bottom - 0.42, "State", "t + 1")):
            self.text(STATE, y, title, weight="bold")
            self.text(STATE, y + 0.22, below, fontsize=9.5)
        self.arrow(bent((STATE, 0.88), (STATE, bottom - 0.66)), "#8fcfae", zorder=4)
        self.box(LEFT, 0.43, LEFT_WIDTH, 0.42, "key of the run", PURPLE, fontsize=10.5)
        self.arrow(bent((LEFT, 0.64), (LEFT, 1.06)), PURPLE[1])
        self.titled(LEFT, 1.38, LEFT_WIDTH, 0.62, "fold_in, split", "by the round", PURPLE)
        self.flow(BEFORE_STATE, AFTER_LEFT, 1.25, "step", "int []", GREEN)

    def flow(
        self, start: float, end: float, y: float, above: str, below: str, color: Color
    ) -> None:
        """A level arrow with the name of what flows and its shape, beside its end at the state."""
        self.arrow(bent((start, y), (end, y)), color[1])
        x = (AFTER_MIDDLE + BEFORE_STATE) / 2
        if max(start, end) < MIDDLE:
            x = (start + end) / 2 - 0.02
        for down, text in ((-0.1, above), (0.12, below)):
            self.text(x, y + down, text, color=color[1], fontsize=9.2)

    def read(self, y: float, name: str, shape: str, color: Color = GREEN) -> None:
        """What a function reads of the state."""
        self.flow(BEFORE_STATE, AFTER_MIDDLE, y, name, shape, color)

    def write(self, y: float, name: str, shape: str, color: Color = GREEN) -> None:
        """What a function leaves in the new state."""
        self.flow(AFTER_MIDDLE, BEFORE_STATE, y, name, shape, color)

    def metrics(self, y: float) -> None:
        """Means over clients, which leave the round."""
        self.arrow(bent((BEFORE_MIDDLE, y), (1.65, y), (1.65, y + 0.42)), ORANGE[1])
        for down, text in ((0.53, "metrics"), (0.73, "mean, []")):
            self.text(1.62, y + down, text, fontsize=9.5, color=ORANGE[1])


def decentralized() -> Figure:
    """One round of ``jcollab.decentralized``."""
    card = RoundCard("decentralized", 6.35)
    # keys
    card.arrow(bent((AFTER_LEFT, 1.54), (MIDDLE, 1.54), (MIDDLE, 2.22)), PURPLE[1])
    card.label(MIDDLE, 1.8, "local_key", PURPLE)
    card.arrow(bent((LEFT, 1.69), (LEFT, 2.62)), PURPLE[1])
    card.label(LEFT, 2.1, "draw_key", PURPLE)
    card.arrow(bent((0.22, 1.38), (0.12, 1.38), (0.12, 5.15), (0.22, 5.15)), PURPLE[1])
    card.label(0.47, 4.3, "mix_key", PURPLE)
    # the batch
    card.titled(LEFT, 2.95, LEFT_WIDTH, 0.66, "batches.draw", "from the data", BLUE)
    card.flow(AFTER_LEFT, BEFORE_MIDDLE - 0.1, 2.95, "batch", "[n, b, …]", BLUE)
    card.arrow(bent((1.0, 3.28), (1.0, 4.82)), BLUE[1])
    card.label(1.0, 3.7, "batch", BLUE)
    # the local step
    card.sheets(BEFORE_MIDDLE, 2.34, MIDDLE_WIDTH, 1.58, ORANGE)
    card.text(MIDDLE, 2.58, "local step", weight="bold")
    card.text(MIDDLE, 2.82, "by layout.per_client", fontsize=9.5)
    card.text(MIDDLE, 3.22, "gradient of the loss,\nupdate of optax", fontsize=9.5)
    card.text(MIDDLE, 3.64, "key: fold_in(…, i)", fontsize=9.5, color=PURPLE[1])
    card.read(2.6, "params", "[n, d]")
    card.read(3.1, "opt_state", "[n, …]")
    card.write(3.6, "opt_state", "[n, …]")
    card.metrics(3.78)
    # the exchange
    card.arrow(bent((MIDDLE, 3.92), (MIDDLE, 4.56)), ORANGE[1])
    card.label(MIDDLE + 0.03, 4.2, "params + updates", ORANGE)
    card.text(MIDDLE + 0.35, 4.42, "[n, d]", color=ORANGE[1], fontsize=9.5)
    card.titled(LEFT, 5.15, LEFT_WIDTH, 0.66, "Round", "key, step, batch", GRAY)
    card.arrow(bent((AFTER_LEFT, 5.15), (BEFORE_MIDDLE, 5.15)), GRAY[1])
    below = "gossip, relay_sum, …:\nhere rows of different\nclients meet"
    card.titled(MIDDLE, 5.2, MIDDLE_WIDTH, 1.24, "mixer.update", below, PINK)
    card.read(4.75, "mixer", "[n, …]")
    card.write(5.2, "mixer", "[n, …]")
    card.write(5.65, "params", "[n, d]")
    return card.figure


def federated() -> Figure:
    """One round of ``jcollab.federated``."""
    card = RoundCard("federated", 9.4)
    # keys
    card.arrow(bent((AFTER_LEFT, 1.54), (MIDDLE, 1.54), (MIDDLE, 2.1)), PURPLE[1])
    card.label(MIDDLE, 1.8, "choose_key", PURPLE)
    for y, gap, name in ((5.3, 0.1, "local_key"), (7.45, 0, "server_key")):
        path = bent((0.22, 1.38), (0.12, 1.38), (0.12, y), (BEFORE_MIDDLE - gap, y))
        card.arrow(path, PURPLE[1])
        card.label(0.75, y, name, PURPLE)
    # who takes part, and their rows
    card.titled(MIDDLE, 2.4, MIDDLE_WIDTH, 0.6, "choose", "m of n clients", GRAY)
    card.arrow(bent((MIDDLE, 2.7), (MIDDLE, 3.15)), GRAY[1])
    card.label(MIDDLE, 2.9, "numbers, int [m]", GRAY)
    card.titled(MIDDLE, 3.45, MIDDLE_WIDTH, 0.6, "gather", "their rows alone", GRAY)
    card.titled(LEFT, 3.45, LEFT_WIDTH, 0.6, "batches", "all the data", BLUE)
    card.flow(AFTER_LEFT, BEFORE_MIDDLE, 3.45, "rows", "[n, …]", BLUE)
    card.read(3.45, "clients", "[n, …]")
    for side, color in ((-0.36, BLUE), (0.36, GREEN)):
        card.arrow(bent((MIDDLE + side, 3.75), (MIDDLE + side, 4.36)), color[1])
        card.label(MIDDLE + side, 4.0, "[m, …]", color)
    # the local run
    card.sheets(BEFORE_MIDDLE, 4.48, MIDDLE_WIDTH, 2.18, ORANGE)
    card.text(MIDDLE, 4.69, "each client i of the m", fontsize=9.5)
    inner = MIDDLE_WIDTH - 0.2
    card.box(MIDDLE, 5.0, inner, 0.32, "method.start", ORANGE, fontsize=10.5)
    below = "batch, gradient,\nmethod.transform"
    card.titled(MIDDLE, 5.6, inner, 0.74, "scan, H steps", below, ORANGE)
    card.box(MIDDLE, 6.2, inner, 0.32, "method.finish", ORANGE, fontsize=10.5)
    card.text(MIDDLE, 6.51, "key: fold_in(…, i)", fontsize=9.5, color=PURPLE[1])
    card.read(5.0, "server's x", "[d]", PINK)
    card.write(6.2, "scatter", "[m] to [n]")
    card.metrics(6.2)
    # the server
    left, right = ("channel,\nthen rule", "[m, d]"), ("weighted\nmean", "sum [d]")
    for x, (below, shape) in ((MIDDLE - 0.43, left), (MIDDLE + 0.43, right)):
        card.arrow(bent((x, 6.66), (x, 7.15)), ORANGE[1])
        card.label(x, 6.87, shape, ORANGE)
        card.box(x, 7.45, 0.78, 0.6, below, PINK, fontsize=9.5)
        card.arrow(bent((x, 7.75), (x, 8.25)), PINK[1])
    card.label(MIDDLE, 7.97, "update u, [d]", PINK)
    below = "gradient −u, after\nmethod.serve"
    card.titled(MIDDLE, 8.7, MIDDLE_WIDTH, 0.9, "server optimizer", below, PINK)
    card.read(8.46, "opt_state", "[…]", PINK)
    card.write(8.94, "x, [d]", "opt_state", PINK)
    return card.figure


DRAWINGS: dict[str, Callable[[], Figure]] = {
    "house": house,
    "round_decentralized": decentralized,
    "round_federated": federated,
}


def main(folder: pathlib.Path = DOCS / "images") -> None:
    """Writes all pictures; the same source makes the same files."""
    for name, draw in DRAWINGS.items():
        with matplotlib.rc_context(STYLE):
            figure = draw()
            figure.savefig(
                folder / f"{name}.svg", transparent=True, metadata={"Date": None, "Creator": None}
            )


if __name__ == "__main__":
    main()

"""Finds the experiments by looking at the folders, and reads their headers without importing them.

A folder of ``experiments/`` whose ``__init__.py`` names a ``Preset:`` is a paper; each of its
modules whose name does not start with an underscore is an experiment. The docstring of an
experiment is its header: a title, where in the paper it comes from, and for each preset its
command, what it runs, what it costs and which numbers to expect::

    \"\"\"Worst-client accuracy when clients hold different labels.

    RelaySGD, arXiv 2110.04175, Table 2.

        python -m experiments relaysgd quickstart

    16 clients on a chain learn handwritten digits.
    Cost: 1 minute on 2 cores.
    Expected: worst client at alpha 0.01: RelaySGD about .97, D-PSGD about .7.
    \"\"\"
"""

import ast
import dataclasses
import functools
import pathlib
import re

FOLDER = pathlib.Path(__file__).parent
COMMAND = re.compile(r"^ +python -m experiments (\w+) (\w+)$", re.M)
PRESET = re.compile(r"\s*(.+?)\nCost: (.+?)\nExpected: (.+?)\s*(?:\n\n.*)?", re.S)
FIELD = re.compile(r"^(arXiv|Import|Preset|Claim|Notebooks): (.*)$", re.M)


@dataclasses.dataclass(frozen=True)
class Preset:
    """A configuration with a name, as the header of its module describes it.

    Attributes:
        paper: name of the folder.
        experiment: name of the module.
        title: first line of its docstring.
        source: where in the paper it comes from.
        name: of the preset.
        about: what it runs.
        cost: time on 2 cores, or the hardware that it needs.
        expected: the numbers to expect.
    """

    paper: str
    experiment: str
    title: str
    source: str
    name: str
    about: str
    cost: str
    expected: str


@dataclasses.dataclass(frozen=True)
class Paper:
    """A folder of experiments, from the docstring of its ``__init__.py``.

    Attributes:
        name: of the folder.
        title: first line of the docstring, without the period.
        reference: authors, title and venue of the publication; empty for none.
        arxiv: number; empty for none.
        imports: what to import for it.
        preset: the one to begin with.
        claim: how the claim of that preset begins that stands for the paper; empty for the first.
        notebooks: names of the notebooks about it.
        presets: its presets by name.
    """

    name: str
    title: str
    reference: str
    arxiv: str
    imports: str
    preset: str
    claim: str
    notebooks: tuple[str, ...]
    presets: dict[str, Preset]


def names() -> list[str]:
    """Names of all papers."""
    folders = sorted(path.parent for path in FOLDER.glob("*/__init__.py"))
    return [folder.name for folder in folders if "\nPreset: " in docstring(folder / "__init__.py")]


def papers() -> dict[str, Paper]:
    """All papers by name; ValueError if a docstring is not in the form of a header."""
    return {name: find_paper(name) for name in names()}


@functools.cache
def find_paper(name: str) -> Paper:
    """A paper by name.

    Raises:
        ValueError: if there is no such paper, a docstring of it is not in the form of a header, or
            two of its presets have one name.
    """
    if name not in names():
        raise ValueError(f"paper must be one of {', '.join(names())}, got {name!r}")
    return read_paper(FOLDER / name)


def find(paper: str, preset: str) -> Preset:
    """A preset by name; ValueError if the paper or the preset is unknown."""
    known = find_paper(paper).presets
    if preset not in known:
        raise ValueError(f"preset of {paper} must be one of {', '.join(known)}, got {preset!r}")
    return known[preset]


def read_paper(folder: pathlib.Path) -> Paper:
    """The header of a folder and of its modules."""
    text = docstring(folder / "__init__.py")
    title, _, rest = text.partition("\n")
    fields = dict(FIELD.findall(rest))
    modules = sorted(path for path in folder.glob("*.py") if not path.name.startswith("_"))
    presets = [preset for path in modules for preset in read_presets(path)]
    names = [preset.name for preset in presets]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{folder.name}: presets must have names of their own, got {twice} twice")
    return Paper(
        name=folder.name,
        title=title.rstrip("."),
        reference=" ".join(FIELD.sub("", rest).split()),
        arxiv=fields.get("arXiv", ""),
        imports=fields.get("Import", ""),
        preset=fields.get("Preset", ""),
        claim=fields.get("Claim", ""),
        notebooks=tuple(fields.get("Notebooks", "").replace(",", " ").split()),
        presets=dict(zip(names, presets, strict=True)),
    )


def read_presets(path: pathlib.Path) -> list[Preset]:
    """The header of a module.

    Raises:
        ValueError: if the docstring is not in the form of a header.
    """
    text, paper = docstring(path), path.parent.name
    head, *blocks = COMMAND.split(text)
    if not blocks:
        raise ValueError(f"{path}: the docstring must have a command of each preset, got {head!r}")
    title, _, source = head.strip().partition("\n")
    source = " ".join(source.strip().partition("\n\n")[0].split()).rstrip(".")
    module = paper, path.stem, title.rstrip("."), source
    presets = []
    for at, name, block in zip(blocks[::3], blocks[1::3], blocks[2::3], strict=True):
        match = PRESET.fullmatch(block)
        if not match or at != paper:
            raise ValueError(
                f"{path}: below 'python -m experiments {paper} {name}' the docstring must describe "
                f"what it runs, then 'Cost: ...' and 'Expected: ...', got {block.strip()!r}"
            )
        about, cost, expected = (" ".join(part.split()).rstrip(".") for part in match.groups())
        presets.append(Preset(*module, name, about, cost, expected))
    return presets


def docstring(path: pathlib.Path) -> str:
    """The docstring of a module, which is parsed and not imported."""
    return ast.get_docstring(ast.parse(path.read_text())) or ""

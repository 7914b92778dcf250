"""Discovery of experiments: reads the headers in the folders of papers, without imports.

A folder whose ``__init__.py`` has a line ``Preset:`` is a paper. Each of its modules without a
leading underscore is an experiment. The docstring of an experiment is its header: a title, the
place in the paper, and for each preset the command, what it runs, the cost and the expected
numbers::

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
    """A named configuration, as described in the header of its module.

    Attributes:
        paper: name of the folder.
        experiment: name of the module.
        title: first line of the docstring.
        source: place in the paper, for example a table.
        name: name of the preset.
        about: what the preset runs.
        cost: time on 2 cores, or the required hardware.
        expected: expected numbers.
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
        name: name of the folder.
        title: first line of the docstring, without the period.
        reference: authors, title and venue of the publication; empty for none.
        arxiv: arXiv identifier; empty for none.
        imports: public names to import.
        preset: the preset to begin with.
        claim: beginning of the headline claim of that preset; empty for its first claim.
        notebooks: names of notebooks.
        presets: presets by name.
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
    """Returns the names of all papers."""
    folders = sorted(path.parent for path in FOLDER.glob("*/__init__.py"))
    return [folder.name for folder in folders if "\nPreset: " in docstring(folder / "__init__.py")]


def papers() -> dict[str, Paper]:
    """Returns all papers by name; ValueError if a docstring is not a header."""
    return {name: find_paper(name) for name in names()}


@functools.cache
def find_paper(name: str) -> Paper:
    """Returns a paper by name; ValueError if it is unknown or a docstring is not a header."""
    if name not in names():
        raise ValueError(f"paper must be one of {', '.join(names())}, got {name!r}")
    return read_paper(FOLDER / name)


def find(paper: str, preset: str) -> Preset:
    """Returns a preset by name; ValueError if the paper or the preset is unknown."""
    known = find_paper(paper).presets
    if preset not in known:
        raise ValueError(f"preset of {paper} must be one of {', '.join(known)}, got {preset!r}")
    return known[preset]


def read_paper(folder: pathlib.Path) -> Paper:
    """Reads the headers of a folder and of its modules; ValueError if two presets share a name."""
    text = docstring(folder / "__init__.py")
    title, _, rest = text.partition("\n")
    fields = dict(FIELD.findall(rest))
    modules = sorted(path for path in folder.glob("*.py") if not path.name.startswith("_"))
    presets = [preset for path in modules for preset in read_presets(path)]
    names = [preset.name for preset in presets]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{folder.name}: presets must have distinct names, got {twice} twice")
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
    """Reads the header of a module; ValueError if the docstring has another form."""
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
    """Returns the docstring of a module, which is parsed and not imported."""
    return ast.get_docstring(ast.parse(path.read_text())) or ""

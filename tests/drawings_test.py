"""The committed pictures of the architecture page are those that the source gives."""

import importlib.util
import xml.etree.ElementTree as xml

import networkx as nx
import pytest

from tests import ROOT
from tests.architecture_test import LIBRARY, own_parts, part

STALE = "run python docs/drawings.py, and look at the pictures"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A folder with new pictures."""
    spec = importlib.util.spec_from_file_location("drawings", ROOT / "docs/drawings.py")
    drawings = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(drawings)
    folder = tmp_path_factory.mktemp("images")
    drawings.main(folder)
    return folder


def texts_and_arrows(path):
    root = xml.parse(path).getroot()
    arrows = {i for i in (e.get("id", "") for e in root.iter()) if "-imports-" in i}
    texts = sorted(e.text for e in root.iter() if e.tag.endswith("}text"))
    return texts, arrows


@pytest.mark.parametrize("name", ["house", "round_decentralized", "round_federated"])
def test_pictures_are_not_stale(name, fresh):
    committed = texts_and_arrows(ROOT / f"docs/images/{name}.svg")
    assert committed == texts_and_arrows(fresh / f"{name}.svg"), STALE
    assert len(committed[0]) > 15
    assert f"images/{name}.svg" in (ROOT / "docs/architecture.md").read_text()


def test_arrows_are_the_imports_of_packages():
    """Each import of the library is a path of arrows, and each arrow is an import."""
    texts, arrows = texts_and_arrows(ROOT / "docs/images/house.svg")
    edges = {tuple(arrow.split("-imports-")) for arrow in arrows}
    pairs = [(part(p), other) for p in LIBRARY for other in own_parts(p) - {part(p)}]
    imported = {edge for edge in pairs if edge[0] != "__init__"}
    paths = nx.transitive_closure(nx.DiGraph(edges))
    assert edges <= imported and imported <= set(paths.edges), STALE
    assert {part(p) for p in LIBRARY} - {"__init__"} <= set(texts), STALE

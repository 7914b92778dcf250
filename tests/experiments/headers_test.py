"""Headers of experiments are read without importing them, and in one form only."""

import pytest

from experiments import headers
from tests import ROOT

HEADER = '''"""Something is measured.

RelaySGD, arXiv 2110.04175,
Figure 1.

    python -m experiments paper first

What it runs, over
two lines.
Cost: 1 minute.
Expected: .97.

A note.

    python -m experiments paper second

Another one.
Cost: a GPU.
Expected: nothing; see
below.
"""

raise RuntimeError("imported")
'''


@pytest.fixture
def folder(tmp_path):
    paper = tmp_path / "paper"
    paper.mkdir()
    fields = "arXiv: 1.2\nImport: jc.a, jc.b\nPreset: first\n"
    (paper / "__init__.py").write_text(f'"""Title of it.\n\nSomebody: Something.\n\n{fields}"""')
    (paper / "_shared.py").write_text("raise RuntimeError")
    (paper / "measured.py").write_text(HEADER)
    return paper


def test_a_header_is_read(folder):
    paper = headers.read_paper(folder)
    assert (paper.name, paper.title, paper.arxiv) == ("paper", "Title of it", "1.2")
    assert (paper.reference, paper.imports) == ("Somebody: Something.", "jc.a, jc.b")
    assert (paper.preset, paper.claim, paper.notebooks) == ("first", "", ())
    first, second = paper.presets.values()
    for preset in (first, second):
        assert (preset.experiment, preset.title) == ("measured", "Something is measured")
        assert preset.source == "RelaySGD, arXiv 2110.04175, Figure 1"
    assert first.about == "What it runs, over two lines"
    assert (first.cost, first.expected) == ("1 minute", ".97")
    assert (second.about, second.expected) == ("Another one", "nothing; see below")
    assert list(paper.presets) == ["first", "second"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Cost: 1 minute.\n", "", "paper first' the docstring must describe what it runs"),
        ("paper first", "other first", "paper first' the docstring must describe what it runs"),
        ("python -m experiments", "python -m", "must have a command of each preset"),
        ("paper second", "paper first", r"distinct names, got \['first'\] twice"),
    ],
)
def test_a_header_of_another_form_is_refused(folder, old, new, message):
    path = folder / "measured.py"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=message):
        headers.read_paper(folder)


def test_every_paper_names_what_it_begins_with():
    papers = headers.papers()
    assert len(papers) == 11
    for paper in papers.values():
        assert paper.preset in paper.presets
        assert bool(paper.arxiv) == (paper.name != "federated")
        for notebook in paper.notebooks:
            assert (ROOT / f"colabs/{notebook}.ipynb").exists()
        for one in paper.presets.values():
            assert one.title and (paper.arxiv in one.source), f"{paper.name}/{one.name}"


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="paper must be one of .*relaysgd.*, got 'relay'"):
        headers.find("relay", "fig2")
    with pytest.raises(ValueError, match="preset of relaysgd must be one of .*, got 'fig1'"):
        headers.find("relaysgd", "fig1")

"""The programs and commands of the README are run, word for word."""

import re
import shlex

import pytest

from experiments import contract, grid
from experiments.__main__ import parse
from tests import ROOT

README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def test_python_blocks_run_in_order(capsys):
    scope: dict = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), scope)
    printed = dict(line.split(": ") for line in capsys.readouterr().out.splitlines())
    assert float(printed["worst client"]) > 0.95
    assert 0.8 < float(printed["loss"]) < 1.2


def test_it_is_short():
    assert len(README.splitlines()) <= 120


def understood(words):
    if words[0] in ("report", "tables"):
        return
    for _, arguments in grid.expand(words[2:], contract.configure(*words[:2])):
        parse(*words[:2], arguments)


def test_commands_exist():
    makefile = (ROOT / "Makefile").read_text()
    commands = [line for block in blocks("bash") for line in block.splitlines()]
    assert any(command.startswith("make test") for command in commands)
    for command in commands:
        words = shlex.split(command, comments=True)
        if words[0] == "make":
            assert f"\n{words[1]}:" in makefile
        elif words[:3] == ["python", "-m", "experiments"] and len(words) > 3:
            understood(words[3:])


@pytest.mark.parametrize("path", sorted((ROOT / "experiments").glob("*/README.md")), ids=str)
def test_commands_of_the_experiments_exist(path):
    commands = re.findall(r"^python -m experiments (.+)$", path.read_text(), re.M)
    assert commands
    for command in commands:
        understood(shlex.split(command, comments=True))


def test_links_and_pictures_exist():
    for path in [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\((?!http)([^)#]+)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"

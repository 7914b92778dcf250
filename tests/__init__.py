"""Tests of jcollab, in the folders of jcollab."""

import pathlib

ROOT = pathlib.Path(__file__).parent.parent
REFERENCE = ROOT / "tests/reference"

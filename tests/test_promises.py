"""The tests that docs/promises.rst names exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "promises.rst"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="needs a checkout")


def test_every_promise_names_tests_that_exist():
    _, *sections = re.split(r"\n(?=[^\n]+\n-{3,}\n)", PAGE.read_text())
    assert len(sections) == PAGE.read_text().count("Tests:\n")
    for section in sections:
        assert section.count("Tests:\n") == 1, section
        named = re.findall(r"``(tests/\w+\.py)::(\w+)``", section)
        assert named, section
        for file, name in named:
            tree = ast.parse((ROOT / file).read_text())
            assert name in [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]

"""The code of README and pages runs, and the figures of the README are those measured."""

import re
from pathlib import Path

import pytest
from sybil.document import Document
from sybil.parsers import markdown, rest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(ROOT.glob("docs/*.rst"))
README = ROOT / "README.md"

# Begins a comment in the page, which makes the data that the reader is supposed to have.
HIDDEN = "invisible-code-block: python"


def run(path, parser, *others):
    """Run the code blocks of a page from top to bottom, and count them."""
    document = Document.parse(str(path), parser, *others)
    document.namespace["__name__"] = "__main__"
    for example in document.examples():
        example.evaluate()
    return len(list(Document.parse(str(path), parser).examples()))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_code_of_a_page_runs(path, tmp_path, monkeypatch):
    """A comment ``.. skip: next`` leaves out a block that needs more than a moment."""
    monkeypatch.chdir(tmp_path)
    text = path.read_text(encoding="utf-8")
    blocks = len(re.findall(r"^ *\.\. code-block:: python$", text, flags=re.M))
    assert run(path, rest.PythonCodeBlockParser(), rest.SkipParser()) == blocks + text.count(HIDDEN)


def test_code_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = README.read_text(encoding="utf-8")
    assert HIDDEN not in text  # it needs nothing that is not shown
    assert run(README, markdown.PythonCodeBlockParser()) == text.count("```python") > 0


def test_figures_of_the_readme_are_those_of_the_benchmark():
    """Each cell of the marked table is the seconds of a pass in the table of that model."""
    text = README.read_text(encoding="utf-8")
    table = text.split("<!-- measured: docs/benchmarks/results/passes.rst -->")[1].strip()
    header, _, *rows = [line.strip("|").split("|") for line in table.split("\n\n")[0].splitlines()]
    models = [cell.strip() for cell in header[1:]]
    results = (ROOT / "docs/benchmarks/results/passes.rst").read_text(encoding="utf-8")
    n_figures = 0
    for name, *cells in rows:
        for model, cell in zip(models, cells, strict=True):
            measured = results.split(f"**{model}**")[1].split("**")[0]
            row = re.search(rf"^{re.escape(name.strip())} +(\S+) ", measured, flags=re.M)
            assert cell.strip() == (row[1] if row else "–"), (name, model)
            n_figures += bool(row)
    assert n_figures > 5

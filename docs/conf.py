"""Sphinx configuration."""

from importlib.metadata import version as installed_version

project = "skfm"
author = "the skfm developers"
copyright = f"2026, {author}"
release = installed_version("skfm")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
]
exclude_patterns = ["_build", "examples", "benchmarks"]
autosummary_generate = True
numpydoc_class_members_toctree = False
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
html_theme = "pydata_sphinx_theme"
html_title = "skfm"
html_sidebars = {"**": []}
html_theme_options = {"navigation_with_keys": False, "show_prev_next": False}
templates_path = ["_templates"]
# `score` is inherited, and refers to sections of scikit-learn's own guide.
suppress_warnings = ["ref.ref"]

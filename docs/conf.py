"""Sphinx configuration."""

from importlib.metadata import version as installed_version

project = "skfm"
author = "the skfm developers"
copyright = f"2026, {author}"
release = installed_version("skfm")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "examples", "benchmarks", "inventories"]
templates_path = ["_templates"]
# `score` is inherited, and refers to sections of scikit-learn's own guide.
suppress_warnings = ["ref.ref"]

autosummary_generate = True
# The types are in the sections "Parameters", and headings name the class.
autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"
numpydoc_class_members_toctree = False
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

# Links to other projects. Each inventory holds what these pages link to, as plain text, so that
# a build needs no network and never fails because a site is down. A name that is not in them is a
# warning: add its line.
nitpicky = True
intersphinx_mapping = {
    name: (url, f"inventories/{name}.txt")
    for name, url in {
        "joblib": "https://joblib.readthedocs.io/en/stable/",
        "numpy": "https://numpy.org/doc/stable/",
        "pandas": "https://pandas.pydata.org/docs/",
        "python": "https://docs.python.org/3/",
        "scipy": "https://docs.scipy.org/doc/scipy/",
        "sklearn": "https://scikit-learn.org/stable/",
    }.items()
}

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    # The other files there are scripts, see scripts.rst.
    "ignore_pattern": r"^(?!plot_)",
    "within_subsection_order": "FileNameSortKey",
    "backreferences_dir": "auto_examples/backreferences",
    "doc_module": ("skfm",),
    "reference_url": {"skfm": None},
    "matplotlib_animations": False,
    "remove_config_comments": True,
    "min_reported_time": 1e9,
    "show_memory": False,
    "download_all_examples": False,
    "write_computation_times": False,
}

mathjax_path = "https://cdn.jsdelivr.net/npm/mathjax@3/es5/tex-mml-chtml.js"

html_theme = "pydata_sphinx_theme"
html_title = "skfm"
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": False,
    "header_links_before_dropdown": 6,
    "secondary_sidebar_items": ["page-toc"],
    "show_toc_level": 2,
}
# Code needs the width more than these pages need a menu of their neighbors.
wide = ["index", "install", "getting_started", "faq", "auto_examples/*"]
html_sidebars = {name: [] for name in wide}
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["skfm.css"]

"""How Sphinx builds this documentation: ``nox -s docs``, or ``sphinx-build -n -W docs OUT``.

Nothing is fetched from a network. Every reference must lead somewhere (nitpicky), and the
session turns warnings into errors.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

project = "enlist"
author = "The enlist authors"
project_copyright = author
language = "en_GB"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "docs._ext.enlist_docs",
]
exclude_patterns = ["_build", "examples"]
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
smartquotes_action = "D"  # dashes alone: what is quoted is to be typed as it stands
myst_heading_anchors = 3
suppress_warnings = ["myst.strikethrough"]

nitpicky = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
add_module_names = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = "enlist"
html_static_path = ["_static"]
html_css_files = ["enlist.css"]
html_copy_source = False
html_show_sourcelink = False

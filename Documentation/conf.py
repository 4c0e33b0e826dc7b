# SPDX-License-Identifier: GPL-2.0-only
# Sphinx: sphinx-build -W -b html Documentation build/html. Needs nothing but Debian's python3-sphinx.

project = "kiln"
copyright = "The kiln developers"
extensions = []
master_doc = "index"
html_theme = "alabaster"
html_theme_options = {"page_width": "76em", "body_max_width": "none", "sidebar_width": "16em"}
html_show_sourcelink = False
highlight_language = "none"
exclude_patterns = ["_build"]

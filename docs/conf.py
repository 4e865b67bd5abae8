"""The docs site: `python3 tools/dev.py docs` builds it into build/site, without a network.

The source is the repository itself, so that a link between pages is the same here and in a checkout, and the build says
which one is broken.
"""

project = "sftrun"
copyright = "the sftrun authors, Apache-2.0"
root_doc = "docs/index"
include_patterns = ["docs/*.md", "*.md", "benchmarks/README.md", "modal_plane/README.md"]
exclude_patterns = [".*", "build", "sftrun", "tests", "recipes"]
suppress_warnings = ["misc.highlighting_failure"]  # docs/diagnostics.md shows recipes that are not YAML

extensions = ["myst_parser"]
myst_heading_anchors = 4

templates_path = ["_templates"]
html_theme = "furo"
html_title = "sftrun"
html_additional_pages = {"index": "redirect.html"}
html_copy_source = False
html_show_sourcelink = False

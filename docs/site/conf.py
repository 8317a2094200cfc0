"""How Sphinx builds the site; ``assemble`` writes the sources that it reads."""

project = "Sonoprobe"
author = "The Sonoprobe authors"
copyright = "The Sonoprobe authors, Apache-2.0"
extensions = ["myst_parser", "sphinx_design", "sphinx_copybutton"]

html_theme = "furo"
html_title = "Sonoprobe"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
# The excerpts of a search are fetched, which browsers refuse for pages that are opened as files.
html_show_search_summary = False
html_domain_indices = False
html_use_index = False

# Headings have the anchors that GitHub gives them, so that a page reads the same in both places.
myst_heading_anchors = 6
myst_enable_extensions = ["attrs_inline", "colon_fence"]
copybutton_exclude = ".linenos, .gp, .go"

# Examples of answers are shortened with "...", which is no JSON.
suppress_warnings = ["misc.highlighting_failure"]

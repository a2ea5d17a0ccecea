"""How Sphinx makes the pages in docs/ into a site: `make docs`, which takes warnings for errors.

The pages stay plain Markdown that reads as well on a code host. Nothing is loaded from elsewhere, so that the site
opens from a folder without network, its search included.
"""

from lamostvac import __version__

project = "lamost-vac"
release = __version__
html_title = f"lamost-vac {release}"

extensions = ["myst_parser"]
myst_heading_anchors = (
    3  # headings down to ### can be linked to, as page.md#heading; the build checks each
)
smartquotes = False  # keeps --options and "values" as they are typed
nitpicky = True

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False

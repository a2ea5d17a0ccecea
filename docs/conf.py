"""How Sphinx makes the pages in docs/ into a site: `make docs`, which takes warnings for errors.

The pages stay plain Markdown that reads as well on a code host. Nothing is loaded from elsewhere, so that the site
opens from a folder without network, its search included.
"""

import re

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

# The reference is written from the code when the site is built: `sphinx.ext.apidoc` puts a page for each package into
# docs/reference, which is not under version control.
extensions += ["sphinx.ext.apidoc", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
apidoc_modules = [
    {
        "path": "../lamostvac",
        "destination": "reference",
        "separate_modules": False,
        "module_first": True,
        "include_private": False,
        "automodule_options": {"members", "show-inheritance"},
    }
]
autodoc_typehints = "none"
autodoc_use_type_comments = False  # there are none to look for
# With functions and classes in it, the tree that each page shows would take a third of the time.
toc_object_entries = False
autodoc_member_order = "bysource"
napoleon_use_ivar = True  # attributes of dataclasses are members already
napoleon_use_param = False  # parameters are described, not linked: "(n,) errors" is no type
napoleon_use_rtype = False
nitpick_ignore_regex = [("py:.*", ".*")]  # links of the pages are checked, types of NumPy's not
suppress_warnings = ["ref.python"]  # a word such as "n" is an attribute of several classes


def escape_markup(app, what, name, obj, options, lines):
    """Docstrings are plain text with `code` in them: bars, stars and underscores are no markup."""
    for number, line in enumerate(lines):
        parts = line.split("`")
        parts[::2] = [re.sub(r"([|*]|(?<=\w)_(?=\W|$))", r"\\\1", part) for part in parts[::2]]
        text = "`".join(parts)
        lines[number] = text if text.count("`") % 2 == 0 else text.replace("`", r"\`")


def setup(app):
    # Before napoleon, which writes markup of its own.
    app.connect("autodoc-process-docstring", escape_markup, priority=1)

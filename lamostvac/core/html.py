"""HTML files that open without a network: text, tables and figures in one file.

The markup is in Jinja2 templates, `lamostvac/*/templates/*.html.j2`; Python passes values to them.
Every value is escaped, so a name with `<` or `&` is shown unchanged and nothing from a catalogue
can become markup.
"""

import functools
import math
from pathlib import Path
from typing import Any

import jinja2

from lamostvac.core.atomic import atomic
from lamostvac.core.code_version import LIBRARY


@functools.cache
def environment() -> jinja2.Environment:
    """Jinja2 as all pages use it; templates have names such as `star/templates/page.html.j2`.

    A value that a template needs and does not get is an error (`jinja2.UndefinedError`), and a
    missing number (None or NaN) becomes a dash.
    """
    result = jinja2.Environment(
        loader=jinja2.FileSystemLoader(LIBRARY),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_or_dash,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    result.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    return result


def _or_dash(value: Any) -> Any:
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    return "\N{EN DASH}" if missing else value


def write_page(path: str | Path, template: str, **values: Any) -> None:
    """Fill in a template; the file gets its name when it is complete.

    Parameters
    ----------
    template : its path below the library, such as `star/templates/page.html.j2`
    values : the template's variables; the items of a generator are written as they are produced
    """
    pieces = environment().get_template(template).generate(**values)
    with atomic(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as handle:
        handle.writelines(pieces)

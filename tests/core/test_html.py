"""Pages are templates filled in: every value is text, a missing number is a dash, a missing value an error."""

import jinja2
import numpy as np
import pytest
from html_checks import HOSTILE, Page

from lamostvac.core.code_version import LIBRARY
from lamostvac.core.html import environment, write_page

PARTS = '{% from "core/templates/parts.html.j2" import cards, details, image, section, table %}'


def filled(template, **values):
    """The text of a template's page, and the page."""
    page = Page(environment().from_string(PARTS + template).render(**values))
    return " ".join("".join(page.text).split()), page


@pytest.mark.parametrize(
    "template",
    [
        "{{ cards([(name, 1)]) }}",
        "{{ table([name], []) }}",
        "{{ table([''], [[name]]) }}",
        "{{ table([''], [[name]], codes=(0,), unbroken=(0,)) }}",
        "{{ table([''], [[name]], unbroken=(0,)) }}",
        "{% call section('a', name) %}{% endcall %}",
        "{% call section('a', '') %}{{ name }}{% endcall %}",
        "{% call details(name) %}{% endcall %}",
    ],
)
def test_every_part_shows_a_hostile_name_as_it_is(template):
    text, page = filled(template, name=HOSTILE)
    assert HOSTILE in text
    assert "b" not in page.tags or "cards" in template
    assert "x" not in page.ids


def test_an_attribute_cannot_be_left():
    _, page = filled("{{ image(source, name) }}", source="data:,", name='"><b id="x">')
    assert page.tags == ["img"]


@pytest.mark.parametrize("missing", [None, float("nan"), np.float64("nan")])
def test_a_missing_number_is_a_dash(missing):
    assert filled("{{ table([''], [[value]]) }}", value=missing)[0] == "\N{EN DASH}"


@pytest.mark.parametrize("value", [0, 0.0, "", "nan", False])
def test_what_is_there_is_no_dash(value):
    assert filled("{{ value }}", value=value)[0] == str(value)


def test_columns_of_a_table_have_their_kinds():
    table = "{{ table(('a', 'b', 'c'), [(1, 2, 3)], numbers=(1,), codes=(0,), unbroken=(0, 2)) }}"
    html = environment().from_string(PARTS + table).render()
    assert '<th>a</th><th class="n">b</th><th>c</th>' in html
    cells = (
        '<td><code class="one">1</code></td><td class="n">2</td><td><span class="one">3</span></td>'
    )
    assert cells in html


def test_a_value_that_nobody_gave_is_an_error_and_leaves_no_file(tmp_path):
    with pytest.raises(jinja2.UndefinedError, match="key_numbers"):
        write_page(tmp_path / "a.html", "report/templates/overview.html.j2")
    assert list(tmp_path.iterdir()) == []


def test_every_template_of_the_library_can_be_parsed():
    names = [path.relative_to(LIBRARY).as_posix() for path in LIBRARY.rglob("*.j2")]
    assert len(names) >= 5
    for name in names:
        assert environment().get_template(name).name == name

"""The explorer's page holds what the catalogue holds, and its program filters, selects and downloads it."""

import base64
import gzip
import io
import itertools
import json
import re
import subprocess
import xmlrpc.client

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table
from browser import Browser
from html_checks import HOSTILE
from registries import PROJECT
from warm_python import warm_python

from lamostvac.catalog.registry import NetworkLabel, load_registry
from lamostvac.configuration.root import load_configuration
from lamostvac.core.exceptions import UserError
from lamostvac.publish import explorer
from lamostvac.publish.choice import chosen_columns, chosen_rows

pytestmark = pytest.mark.slow

REGISTRY = load_registry(
    [NetworkLabel("abs_mag_ks", "mag", "phys.magAbs;em.IR.K", "Absolute magnitude, Ks", "gaia")]
)
TITLE = 'Labels <of> "tests" & more'
STARS = "results/stars"
MAIN = "catalog/recommended_main.fits"
N = 3000


def catalogue(n=N):
    """Rows with a main sequence, giants and missing values."""
    rng = np.random.default_rng(7)
    rows = REGISTRY.empty(n)
    rows["spectrum_id"] = np.char.mod("58000-P-01-%04d", np.arange(n))
    rows["obsid"] = 700_000_000 + 3 * np.arange(n)
    rows["obsid"][5] = -1
    rows["gaia_source_id"] = 2**61 + 12345678901 * np.arange(n)
    rows["ra"], rows["dec"] = rng.uniform(0, 360, n), rng.uniform(-10, 60, n)
    rows["snrg"] = rng.lognormal(3.5, 0.8, n)
    rows["spectral_type"] = rng.choice([b"OB", b"A", b"F", b"G", b"K", b"M"], n)
    rows["subclass"] = np.char.add(
        rows["spectral_type"].astype("U1"), rng.choice(["2", "5"], n)
    ).astype("S2")
    rows["teff_rec"] = rng.uniform(3000, 9000, n)
    rows["logg_rec"] = np.where(rng.random(n) < 0.3, 2.5, 4.5) + rng.normal(0, 0.2, n)
    rows["feh_rec"] = rng.normal(-0.3, 0.4, n)
    rows["alpha_fe_rec"] = rng.normal(0.1, 0.1, n)
    rows["alpha_fe_rec"][rng.random(n) < 0.2] = np.nan
    rows["abs_mag_ks"] = rng.normal(3, 2, n)
    for name in ("teff_rec", "logg_rec", "feh_rec", "alpha_fe_rec"):
        rows[f"{name}_err"] = rng.uniform(0.01, 0.1, n) * (1000 if name == "teff_rec" else 1)
    rows["chi2"] = rng.lognormal(0, 1, n)
    total = np.zeros(n, np.int32)
    for name, bit in REGISTRY.flag_bits.items():
        rows[name] = rng.random(n) < 0.15
        total |= rows[name].astype(np.int32) << bit
    rows["flags"] = total
    rows["flag_teff_disagree"] = rng.random(n) < 0.1
    rows["best_spectrum"], rows["n_spectra"] = rng.random(n) < 0.7, 1
    rows["recommended"] = rng.random(n) < 0.6
    return rows


def write_parquet(path, rows, row_group=700):
    pq.write_table(REGISTRY.to_arrow(rows), path, row_group_size=row_group)


def columns_of(names=None):
    chosen = chosen_columns(names, REGISTRY, "explorer.columns", explorer.DEFAULT_COLUMNS)
    return explorer.explorer_columns(chosen, REGISTRY, "snrg")


def build(table, page, names=None, rows=None, max_rows=10**6):
    columns = columns_of(names)
    sample = explorer.read_sample(
        table, columns, chosen_rows(rows, REGISTRY, "explorer.rows"), max_rows
    )
    explorer.write_explorer(page, sample, columns, REGISTRY, "snrg", TITLE, STARS, MAIN, rows)
    return sample


def unpacked(page):
    """What the page says of itself, and its columns as a data frame."""
    text = page.read_text(encoding="utf-8")
    meta = json.loads(re.search(r'id="meta">(.*?)</script>', text, re.S)[1])
    found = {}
    for column in meta["columns"]:
        content = re.search(rf'id="column-{column["name"]}">(.*?)</script>', text)[1]
        planes = np.frombuffer(gzip.decompress(base64.b64decode(content)), np.uint8)
        dtype = np.dtype(column["dtype"]).newbyteorder("<")
        values = planes.reshape(dtype.itemsize, meta["n"]).T.copy().view(dtype)[:, 0]
        found[column["name"]] = (
            np.array(column["texts"])[values] if column["texts"] is not None else values
        )
    return meta, pd.DataFrame(found)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the catalogue and its page."""
    path = tmp_path_factory.mktemp("explorer")
    write_parquet(path / "recommended.parquet", catalogue())
    build(path / "recommended.parquet", path / "explorer.html")
    return path


# ---------------------------------------------------------------- the file


def test_the_page_holds_the_catalogue_to_the_digits_it_promises(folder):
    meta, table = unpacked(folder / "explorer.html")
    rows = catalogue()
    assert meta["n"] == meta["n_rows"] == meta["n_catalogue"] == N
    assert "flag_teff_disagree" in table
    assert "dist" in table
    for column in columns_of():
        found, truth = table[column.name].to_numpy(), rows[column.name]
        if column.is_string:
            assert (found == truth.astype(str)).all()
        elif column.dtype.startswith("float"):
            bits = {"float64": 23}.get(column.dtype, 6 if column.name.endswith("_err") else 12)
            np.testing.assert_allclose(found, truth.astype(float), rtol=2.0 ** -(bits + 1) * 1.0001)
        else:
            np.testing.assert_array_equal(found, truth.astype(np.int64))


def test_units_and_words_come_from_the_registry(folder):
    meta, _ = unpacked(folder / "explorer.html")
    columns = {column["name"]: column for column in meta["columns"]}
    assert (columns["teff_rec"]["words"], columns["teff_rec"]["unit"]) == (
        "Effective temperature",
        "K",
    )
    assert (columns["alpha_fe_rec"]["words"], columns["alpha_fe_rec"]["unit"]) == (
        "[alpha/Fe]",
        "dex",
    )
    assert columns["abs_mag_ks"]["words"] == "Absolute magnitude"
    reversed_axes = {name for name, column in columns.items() if column["reversed"]}
    assert reversed_axes == {"ra", "teff_rec", "logg_rec", "abs_mag_ks", "mag_g_gaia"}
    assert [flag["bit"] for flag in meta["bits"]] == sorted(REGISTRY.flag_bits.values())


def test_an_axis_without_values_gives_way_to_the_next(tmp_path):
    rows = catalogue(50)
    rows["alpha_fe_rec"], rows["teff_rec"], rows["abs_mag_ks"] = np.nan, np.nan, np.nan
    write_parquet(tmp_path / "t.parquet", rows)
    rows["teff"] = 5000
    write_parquet(tmp_path / "u.parquet", rows)
    build(tmp_path / "t.parquet", tmp_path / "t.html")
    plots = unpacked(tmp_path / "t.html")[0]["plots"]
    assert [(plot["x"], plot["y"]) for plot in plots] == [
        ("snrg", "chi2"),
        ("feh_rec", None),
        ("ra", "dec"),
        (None, None),
    ]
    build(tmp_path / "u.parquet", tmp_path / "u.html", ["teff"])
    plots = unpacked(tmp_path / "u.html")[0]["plots"]
    assert [(plot["x"], plot["y"]) for plot in plots] == [
        ("teff", "logg_rec"),
        ("teff", "feh_rec"),
        ("ra", "dec"),
        ("teff", None),
    ]


def test_rows_follow_the_condition_and_are_evenly_drawn(folder, tmp_path):
    condition = "flag_snr == 0 and spectral_type != 'M'"
    page = tmp_path / "t.html"
    sample = build(folder / "recommended.parquet", page, rows=condition, max_rows=500)
    assert sample.names == names_of(sample.rows)
    text = page.read_text(encoding="utf-8")
    stored = {
        key: gzip.decompress(base64.b64decode(re.search(f'id="{key}">(.*?)</script>', text)[1]))
        for key in ("spectrum-ids", "catalogue-rows")
    }
    assert stored["spectrum-ids"].decode().splitlines() == sample.names
    kept = (
        np.frombuffer(stored["catalogue-rows"], np.uint8).reshape(2, -1).T.copy().view("<u2")[:, 0]
    )
    np.testing.assert_array_equal(kept, sample.rows)
    rows = catalogue()
    kept = np.flatnonzero((rows["flag_snr"] == 0) & (rows["spectral_type"] != b"M"))
    meta, table = unpacked(page)
    assert (
        (meta["n"], meta["n_rows"], meta["n_catalogue"])
        == (500, len(kept), N)
        == (500, sample.n_rows, N)
    )
    places = np.flatnonzero(np.isin(kept, (table["obsid"].to_numpy() - 700_000_000) // 3))
    steps = np.diff(places)
    assert steps.min() >= len(kept) // 500
    assert steps.max() <= len(kept) // 500 + 1
    assert meta["rows"] == condition


@pytest.mark.parametrize("n", [0, 1, 99, 100, 101, 5000])
def test_evenly_spaced_rows_are_as_many_as_asked_for_however_they_are_cut(n):
    whole = explorer.evenly_spaced(0, n, n, 100)
    assert np.count_nonzero(whole) == min(n, 100)
    cuts = [0, n // 3, n // 2, n]
    parts = [explorer.evenly_spaced(a, b, n, 100) for a, b in itertools.pairwise(cuts)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_bytes_do_not_depend_on_row_groups(folder, tmp_path):
    write_parquet(tmp_path / "other.parquet", catalogue(), row_group=111)
    build(tmp_path / "other.parquet", tmp_path / "other.html")
    assert (tmp_path / "other.html").read_bytes() == (folder / "explorer.html").read_bytes()


def test_rounding_keeps_the_bits_it_says_and_what_is_no_number():
    values = np.random.default_rng(3).normal(size=1000).astype(np.float32) * np.float32(1e5)
    found = explorer.rounded(values, 6)
    np.testing.assert_allclose(found, values, rtol=2.0**-7)
    assert not (found.view(np.uint32) & ((1 << 17) - 1)).any()
    odd = np.array([np.nan, np.inf, -np.inf, 0, -0.0], np.float32)
    np.testing.assert_array_equal(explorer.rounded(odd, 6), odd)


def test_whole_numbers_take_the_smallest_type():
    for values, name in (
        ([], "uint8"),
        ([0, 255], "uint8"),
        ([-1, 256], "int16"),
        ([65535], "uint16"),
        ([-1, 2**31 - 1], "int32"),
        ([2**62], "int64"),
    ):
        assert explorer.narrowed(np.array(values, np.int64)).dtype == name


def test_nothing_in_the_page_ends_it_early_or_asks_for_the_network(folder):
    text = (folder / "explorer.html").read_text(encoding="utf-8")
    assert "<title>Labels &lt;of&gt; &#34;tests&#34; &amp; more: explorer</title>" in text
    assert text.count("<script") == text.count("</script>") == len(columns_of()) + 4
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", text)
    assert "default-src 'none'" in text


def test_a_hostile_title_and_condition_are_text(folder, tmp_path):
    columns, condition = columns_of(), f"spectrum_id != '{HOSTILE}'"
    sample = explorer.read_sample(folder / "recommended.parquet", columns, None, 10)
    page = tmp_path / "a.html"
    explorer.write_explorer(
        page, sample, columns, REGISTRY, "snrg", HOSTILE, STARS, MAIN, condition
    )
    text = page.read_text(encoding="utf-8")
    assert text.count("</script>") == len(columns) + 5
    assert '<b id="x">' not in text
    meta, _ = unpacked(page)
    assert (meta["title"], meta["rows"]) == (HOSTILE, condition)


def test_mistakes_name_the_key(folder, monkeypatch):
    with pytest.raises(
        UserError, match=r"explorer.columns: there is no column tef; did you mean teff\?"
    ):
        columns_of(["tef"])
    with pytest.raises(UserError, match=r"explorer.rows: .*no column tef"):
        chosen_rows("tef > 1", REGISTRY, "explorer.rows")
    monkeypatch.setattr(explorer, "_MAX_TEXTS", 3)
    with pytest.raises(
        UserError, match=r"explorer.columns: subclass has more than 3 different texts"
    ):
        build(folder / "recommended.parquet", folder / "t.html", ["subclass"])
    default = load_configuration({}).explorer
    assert default.columns is None
    assert default.rows is None


# ---------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def browser(folder, tmp_path_factory):
    """A browser with the page open; skips where there is no Chromium."""
    with Browser(tmp_path_factory.mktemp("browser")) as found:
        found.open(folder / "explorer.html")
        found.wait("document.documentElement.dataset.ready === 'yes'")
        yield found


@pytest.fixture
def page(browser):
    """The page as it is at first."""
    browser.evaluate("document.querySelector('#filters').reset(); choose(-1); state.sort = null")
    browser.evaluate(
        "document.querySelector('#clear').disabled || document.querySelector('#clear').click()"
    )
    browser.evaluate("document.querySelector('#tools input[value=move]').click()")
    browser.evaluate(
        "for (const plot of plots) plot.surface.call(plot.zoom.transform, d3.zoomIdentity)"
    )
    browser.evaluate("new Promise((done) => setTimeout(done, 50))")
    browser.evaluate("update()")
    yield browser
    assert browser.errors() == []


def chosen(page):
    """Rows of the selection, as the page has them."""
    return np.sort(page.evaluate("[...state.rows]")).astype(int)


def settled(page):
    """After the page has answered to a filter."""
    page.evaluate("new Promise((done) => setTimeout(done, 120))")
    return chosen(page)


def where(page, plot, x, y):
    """Place in the window of a point of a plot, in its data."""
    return page.evaluate(
        f"(() => {{ const p = plots[{plot}]; p.area.scrollIntoView({{block: 'nearest'}});"
        f"const [x, y] = scales(p), r = p.area.getBoundingClientRect();"
        f"return [r.x + MARGIN.left + x({x}), r.y + MARGIN.top + y({y})]; }})()"
    )


def choose_option(page, name, value):
    page.evaluate(
        f"(() => {{ const e = document.querySelector('#flags select[name={name}]'); e.value = '{value}';"
        "e.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )


def test_the_page_shows_every_row_and_asks_for_nothing(page):
    assert "0 selected · 3,000 pass the filters" in page.evaluate(
        "document.querySelector('#status').textContent"
    )
    assert [url for url in page.requests() if not url.startswith(("file:", "data:"))] == []
    for plot in range(4):
        drawn = f"""(() => {{ const c = plots[{plot}].canvas;
            return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((v) => v > 0); }})()"""
        assert page.evaluate(drawn)
    labels = page.evaluate(
        "[...document.querySelectorAll('.area > svg > text')].map((e) => e.firstChild?.data)"
    )
    assert "Effective temperature, teff_rec (K)" in labels
    assert "[alpha/Fe], alpha_fe_rec (dex)" in labels


def test_filters_keep_the_rows_that_numpy_keeps(page):
    rows = catalogue()
    page.click_on("#good")
    np.testing.assert_array_equal(settled(page), np.flatnonzero(rows["flags"] == 0))
    page.click_on("#good")
    choose_option(page, "flag_chi2", 1)
    choose_option(page, "flag_edge", 0)
    choose_option(page, "flag_teff_disagree", 0)
    want = (rows["flag_chi2"] == 1) & (rows["flag_edge"] == 0) & (rows["flag_teff_disagree"] == 0)
    np.testing.assert_array_equal(settled(page), np.flatnonzero(want))
    page.click_on("#types input[value=G]")
    page.click_on("#best")
    page.click_on("#snr-min")
    page.type("30")
    want &= (rows["spectral_type"] != b"G") & (rows["best_spectrum"] == 1) & (rows["snrg"] >= 30)
    np.testing.assert_array_equal(settled(page), np.flatnonzero(want))
    page.click_on("#filters button[type=reset]")
    assert len(settled(page)) == N
    page.click_on("#subclass")
    page.type("K5")
    np.testing.assert_array_equal(settled(page), np.flatnonzero(rows["subclass"] == b"K5"))


def test_boxes_of_two_plots_and_a_filter_hold_together(page):
    _, table = unpacked(page_path(page))
    page.click_on("#tools input[value=box]")
    page.drag(where(page, 0, 7000, 2), where(page, 0, 6000, 3), where(page, 0, 4000, 5))
    first = page.evaluate("(({x0, x1, y0, y1}) => [x0, x1, y0, y1])(plots[0].selection)")
    np.testing.assert_allclose(first, [4000, 7000, 2, 5], rtol=0.02)
    want = table["teff_rec"].between(*first[:2]) & table["logg_rec"].between(*first[2:])
    np.testing.assert_array_equal(chosen(page), np.flatnonzero(want))
    page.drag(where(page, 2, 300, 0), where(page, 2, 200, 20), where(page, 2, 100, 40))
    second = page.evaluate("(({x0, x1, y0, y1}) => [x0, x1, y0, y1])(plots[2].selection)")
    want &= table["ra"].between(*second[:2]) & table["dec"].between(*second[2:])
    np.testing.assert_array_equal(chosen(page), np.flatnonzero(want))
    page.click_on("#good")
    want &= table["flags"] == 0
    np.testing.assert_array_equal(settled(page), np.flatnonzero(want))
    assert page.evaluate("state.passing") == np.count_nonzero(table["flags"] == 0)
    page.click_on("#clear")
    np.testing.assert_array_equal(chosen(page), np.flatnonzero(table["flags"] == 0))
    page.click_on("#good")
    page.click_on("#recommended")
    np.testing.assert_array_equal(settled(page), np.flatnonzero(table["recommended"] == 1))


def page_path(page):
    return explorer.Path(page.evaluate("decodeURIComponent(location.pathname)"))


def test_the_lasso_selects_what_lies_within(page):
    _, table = unpacked(page_path(page))
    page.click_on("#tools input[value=lasso]")
    corners = [(-0.9, 0.0), (-0.2, 0.3), (0.4, 0.0)]
    path = [
        where(page, 1, a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1]))
        for a, b in zip(corners, corners[1:] + corners[:1], strict=True)
        for t in np.linspace(0, 1, 12)
    ]
    page.drag(*path)
    x, y = table["feh_rec"].to_numpy(float), table["alpha_fe_rec"].to_numpy(float)
    inside = (y > 0) & (y < 0.3 * (x + 0.9) / 0.7) & (y < 0.3 * (0.4 - x) / 0.6)
    found = chosen(page)
    # The path is drawn in pixels, so stars within a pixel or so of it may be on either side.
    edge = (
        np.abs(np.column_stack([y, y - 0.3 * (x + 0.9) / 0.7, y - 0.3 * (0.4 - x) / 0.6])).min(
            axis=1
        )
        < 0.01
    )
    wrong = np.setxor1d(found, np.flatnonzero(inside))
    assert len(found) > 500
    assert edge[wrong].all()


def test_a_click_opens_the_star_and_links_its_page(page):
    _, table = unpacked(page_path(page))
    row = 42
    page.click(*where(page, 0, table["teff_rec"][row], table["logg_rec"][row]))
    opened = page.evaluate("state.star")
    # Another star may be as near; it must be within a pixel or two of the click.
    assert abs(table["teff_rec"][opened] - table["teff_rec"][row]) < 40
    obsid = table["obsid"][opened]
    assert (
        page.evaluate("document.querySelector('#star-link').getAttribute('href')")
        == f"stars/{obsid}.html"
    )
    text = page.evaluate("document.querySelector('#details').innerText")
    assert f"obsid {obsid}" in text
    assert f"lamostvac star results {obsid}" in text
    for name, bit in REGISTRY.flag_bits.items():
        assert (name in text) == bool(table["flags"][opened] >> bit & 1)
    page.key("Escape")
    assert page.evaluate("document.querySelector('#details').hidden")
    page.evaluate("choose(5)")
    assert page.evaluate("document.querySelector('#star-link')") is None


def test_the_keyboard_moves_selects_and_opens(page):
    page.evaluate("document.querySelector('.surface').focus()")
    page.key("+")
    page.key("ArrowRight")
    page.evaluate("new Promise((done) => setTimeout(done, 50))")
    view = page.evaluate(
        "(() => { const [x, y] = scales(plots[0]); return [...x.domain(), ...y.domain()]; })()"
    )
    page.key("s")
    _, table = unpacked(page_path(page))
    want = table["teff_rec"].between(view[1], view[0]) & table["logg_rec"].between(
        *sorted(view[2:])
    )
    assert 0 < want.sum() < N
    np.testing.assert_array_equal(chosen(page), np.flatnonzero(want))
    page.evaluate("document.querySelector('#table tbody button').focus()")
    page.key("Enter")
    assert page.evaluate("state.star") == page.evaluate("state.rows[0]")


def test_the_wheel_zooms_and_dragging_moves_without_selecting(page):
    x, y = page.middle(".surface")
    before = page.evaluate("scales(plots[0])[0].domain()")
    page.wheel(x, y, -200)
    page.wait("plots[0].transform.k > 1.1")
    zoomed = page.evaluate("scales(plots[0])[0].domain()")
    assert before[0] > zoomed[0] > zoomed[1] > before[1]
    page.drag((x, y), (x + 50, y), (x + 100, y))
    moved = page.evaluate("scales(plots[0])[0].domain()")
    assert moved[0] > zoomed[0]
    assert len(chosen(page)) == N
    assert page.evaluate("plots[0].nView") < N


def test_the_table_turns_pages_and_sorts_with_missing_values_last(page):
    _, table = unpacked(page_path(page))
    page.evaluate(
        "[...document.querySelectorAll('#table th button')].find((e) => e.textContent === 'alpha_fe_rec').click()"
    )
    first = np.array(page.evaluate("[...state.rows]"))
    values = table["alpha_fe_rec"].to_numpy()[first]
    n = np.isfinite(values).sum()
    assert (np.diff(values[:n]) >= 0).all()
    assert np.isnan(values[n:]).all()
    assert n < N
    page.click_on("#next")
    shown = page.evaluate(
        "[...document.querySelectorAll('#table tbody tr')].map((e) => Number(e.dataset.row))"
    )
    assert shown == first[15:30].tolist()
    assert page.evaluate("document.querySelector('#page').textContent") == "page 2 of 200"
    page.click_on("#last")
    assert page.evaluate("document.querySelector('#next').disabled")


def taken(page, name="selection.csv"):
    """What was downloaded; the file goes, lest the next one gets another name."""
    path = page.downloaded(name)
    content = path.read_bytes()
    path.unlink()
    return content if name.endswith("fits") else content.decode()


def names_of(rows):
    return [f"58000-P-01-{row:04d}" for row in rows]


def test_the_download_is_the_selection_as_csv(page):
    page.accept_downloads()
    page.click_on("#types input[value=M]")
    rows = settled(page)
    page.click_on("#download")
    table = pd.read_csv(io.StringIO(taken(page)))
    _, truth = unpacked(page_path(page))
    truth = truth.iloc[rows].reset_index(drop=True)
    assert list(table) == ["spectrum_id", *truth]
    assert table["spectrum_id"].tolist() == names_of(rows)
    assert len(table) == len(rows) < N
    for name in ("obsid", "flags", "teff_rec", "alpha_fe_rec", "ra"):
        missing = truth[name] == -1 if name == "obsid" else truth[name].isna()
        assert (table[name].isna() == missing).all()
        np.testing.assert_allclose(
            table[name][~missing], truth[name][~missing], rtol=1e-4 if name != "ra" else 1e-7
        )
    assert (table["subclass"] == truth["subclass"]).all()


def test_an_empty_cell_keeps_its_comma_and_no_text_is_a_formula(page):
    """Pilot stars have no obsid, and a text that begins with = would be run by a spreadsheet."""
    page.accept_downloads()
    chosen = settled(page)
    change = "((change) => { const t = explorer.COLUMNS.get('subclass').texts; t.forEach(change); return 0; })"
    page.evaluate(change + "((text, at, all) => { all[at] = '=' + text; })")
    page.click_on("#download")
    lines = taken(page).splitlines()
    page.evaluate(change + "((text, at, all) => { all[at] = text.slice(1); })")
    names = lines[0].split(",")
    rows = [dict(zip(names, line.split(","), strict=True)) for line in lines[1:]]
    assert len(rows) == len(chosen)
    assert [row["obsid"] for row in rows].count("") == (5 in chosen) == 1
    assert all(row["subclass"].startswith("'=") for row in rows)


@pytest.mark.parametrize("kind", ["votable", "fits"])
def test_a_small_selection_is_a_table_that_astropy_reads(page, kind):
    page.accept_downloads()
    page.click_on("#types input[value=M]")
    rows = settled(page)
    page.evaluate(f"$('format').value = '{kind}'; download()")
    name = {"votable": "selection.vot", "fits": "selection.fits"}[kind]
    content = taken(page, name)
    content = content if kind == "fits" else content.encode()
    table = Table.read(io.BytesIO(content), format=kind)
    page.evaluate("$('format').value = 'csv'")
    _, truth = unpacked(page_path(page))
    truth = truth.iloc[rows].reset_index(drop=True)
    assert table.colnames == ["spectrum_id", *truth]
    assert [str(one).strip() for one in table["spectrum_id"]] == names_of(rows)
    assert table["teff_rec"].unit == "K"
    np.testing.assert_array_equal(np.ma.getmaskarray(table["obsid"]), truth["obsid"] == -1)
    for column in ("obsid", "flags", "snrg", "alpha_fe_rec"):
        known = np.isfinite(truth[column]) & (truth[column] != -1)
        np.testing.assert_allclose(
            np.asarray(table[column])[known], truth[column][known], rtol=1e-4
        )
    assert (
        np.isnan(np.asarray(table["alpha_fe_rec"], float)).sum()
        == truth["alpha_fe_rec"].isna().sum()
    )
    assert [str(one) for one in table["subclass"]] == truth["subclass"].tolist()


def test_a_large_selection_is_no_small_table(page):
    page.evaluate(
        "state.rows = new Uint32Array(SMALL + 1); state.selected = SMALL + 1; $('format').value = 'fits'"
    )
    page.evaluate("download()")
    assert "more than 100,000 rows" in page.evaluate("$('progress').textContent")
    page.evaluate("$('format').value = 'csv'; $('progress').textContent = ''")


def found(page, text):
    page.evaluate(f"find({json.dumps(text)})")
    return page.evaluate("[state.star, $('found').textContent]")


def test_a_spectrum_is_found_by_every_name_it_has(page):
    rows = catalogue()
    assert found(page, "58000-P-01-0042") == [42, "found"]
    assert found(page, str(rows["obsid"][77])) == [77, "found"]
    assert found(page, str(rows["gaia_source_id"][9])) == [9, "found"]
    row, said = found(page, "58000-P-01-9999")
    assert row == 9
    assert said == "no such spectrum among the 3,000 of this page"
    page.click_on("#good")
    settled(page)
    flagged = int(np.flatnonzero(rows["flags"])[0])
    assert found(page, names_of([flagged])[0]) == [
        flagged,
        "found; the filters or a selection leave it out",
    ]


@pytest.mark.parametrize("radius", [3, 20000])
def test_a_cone_holds_what_astropy_finds(page, radius):
    _, table = unpacked(page_path(page))
    sky = SkyCoord(table["ra"], table["dec"], unit="deg")
    row, said = found(page, f"{table['ra'][12]:.5f} {table['dec'][12]:+.5f} {radius}")
    want = np.flatnonzero(sky.separation(sky[12]).arcsec <= radius)
    np.testing.assert_array_equal(chosen(page), want)
    assert row == 12
    assert said == f"{len(want)} within {radius} arcsec"
    page.click_on("#clear")
    assert len(chosen(page)) == N


@pytest.mark.parametrize(
    ("text", "ra", "dec", "radius"),
    [
        ("12:30:00 -00:30:00", 187.5, -0.5, 5),
        ("187.5, -0.5, 2", 187.5, -0.5, 2),
        ("LAMOST J123000.00-003000.0", 187.5, -0.5, 5),
    ],
)
def test_positions_are_understood_as_astronomers_write_them(page, text, ra, dec, radius):
    cone = page.evaluate(f"position({json.dumps(text)})")
    assert cone == {"ra": pytest.approx(ra), "dec": pytest.approx(dec), "radius": radius}
    for wrong in ("400 3", "10 91", "10 20 30 40", "ten twenty", "10 20 -3"):
        assert page.evaluate(f"position({json.dumps(wrong)})") is None


def test_the_address_of_a_view_brings_it_back(page):
    view = "JSON.stringify([viewText(), [...state.rows], state.star, plots.map((plot) => [plot.x, plot.y])])"
    page.click_on("#types input[value=M]")
    choose_option(page, "flag_chi2", 0)
    page.click_on("#tools input[value=box]")
    page.drag(where(page, 0, 7000, 2), where(page, 0, 6000, 3), where(page, 0, 4000, 5))
    page.evaluate(
        "plots[1].choices.x.value = 'chi2'; plots[1].choices.x.dispatchEvent(new Event('change'));"
        "$('colour').value = 'feh_rec'; update(); choose(state.rows[3])"
    )
    page.wait("location.hash.includes('colour=feh_rec') && location.hash.includes('star=')")
    before, address = page.evaluate(view), page.evaluate("location.hash")
    assert address == page.evaluate("$('permalink').getAttribute('href')")
    assert "without=M" in address
    page.evaluate("location.hash = ''")
    page.wait("state.selected === N && plots[1].x === 'feh_rec'")
    page.evaluate(f"location.hash = {json.dumps(address)}")
    page.wait("state.selected < N")
    assert page.evaluate(view) == before
    page.evaluate("location.hash = '#axes0=nothing,obsid&select0=box,1&cone=a&star=none&colour=x'")
    page.wait("state.selected === N")
    assert page.evaluate("plots[0].x") == "teff_rec"


def test_the_legend_has_grey_while_something_is_selected(page):
    shown = "$('legend').querySelector('.swatch').offsetWidth > 0"
    assert not page.evaluate(shown)
    page.evaluate("select(plots[0], [[4000, 1], [6000, 1], [6000, 5], [4000, 5]], true)")
    page.wait("selecting()")
    assert page.evaluate(shown)
    page.evaluate("$('clear').onclick()")
    page.wait(f"!({shown})")


def test_a_third_column_colours_the_stars(page):
    page.evaluate("$('colour').value = 'feh_rec'; update()")
    _, table = unpacked(page_path(page))
    low, high = np.nanquantile(table["feh_rec"], [0.02, 0.98])
    np.testing.assert_allclose(page.evaluate("state.limits"), [low, high], rtol=0.01)
    assert page.evaluate("rampAt(state.limits[0]) === 0 && rampAt(state.limits[1]) === 255")
    assert "feh_rec" in page.evaluate("$('most').textContent")
    assert not page.evaluate("$('legend').classList.contains('plain')")
    page.evaluate("$('colour').value = ''; update()")
    # Points have no density, so there is no legend of one.
    assert page.evaluate("$('legend').classList.contains('plain')")


HUB = """(() => { window.asked = []; window.realFetch ??= window.fetch; const answers = %s, empty = %s;
    window.fetch = async (url, { body }) => {
        window.asked.push([url, body]);
        const name = body.match(/samp.webhub.(\\w+)/)[1], answer = name in answers ? answers[name] : empty;
        if (answer === null) throw new TypeError('Failed to fetch');
        return new Response(answer);
    }; samp.key = null; })()"""


def hub(page, answers):
    """Put a SAMP hub in the place of the one on this machine."""
    empty = xmlrpc.client.dumps(("",), methodresponse=True)
    page.evaluate(HUB % (json.dumps(answers), json.dumps(empty)))


def asked(page):
    """What the hub was asked: names of methods, and their parameters."""
    calls = page.evaluate("window.asked")
    assert {url for url, _ in calls} <= {"http://localhost:21012/"}
    return [xmlrpc.client.loads(body)[::-1] for _, body in calls]


def test_the_table_and_the_selection_go_to_a_samp_hub(page):
    key = xmlrpc.client.dumps(
        ({"samp.private-key": "k<1>", "samp.hub-id": "h"},), methodresponse=True
    )
    hub(page, {"register": key})
    assert page.evaluate("$('send-rows').disabled")
    page.click_on("#send-table")
    page.wait("$('samp-said').textContent.startsWith('sent')")
    methods, parameters = zip(*asked(page), strict=True)
    assert methods == tuple(
        f"samp.webhub.{name}" for name in ("register", "declareMetadata", "notifyAll")
    )
    assert parameters[1][0] == parameters[2][0] == "k<1>"
    assert parameters[1][1]["samp.description.text"] == TITLE
    sent = parameters[2][1]
    url = (page_path(page).parent / "catalog/recommended_main.fits").as_uri()
    assert sent["samp.mtype"] == "table.load.fits"
    assert sent["samp.params"] == {"table-id": url, "url": url, "name": TITLE}
    page.click_on("#types input[value=M]")
    rows = settled(page)
    page.click_on("#send-rows")
    page.wait("$('samp-said').textContent.endsWith('rows')")
    sent = asked(page)[-1][1][1]
    assert sent["samp.mtype"] == "table.select.rowList"
    assert sent["samp.params"]["row-list"] == [str(row) for row in rows]
    page.evaluate("choose(7); pointAt(7)")
    page.wait(f"window.asked.length === {len(asked(page))}")
    sent = asked(page)[-1][1][1]
    assert sent["samp.mtype"] == "coord.pointAt.sky"
    assert float(sent["samp.params"]["ra"]) == pytest.approx(catalogue()["ra"][7], abs=1e-4)
    page.evaluate(
        "window.fetch = window.realFetch; samp.key = null; $('send-rows').disabled = true"
    )


def test_a_missing_or_unwilling_hub_is_one_sentence(page):
    said = "$('samp-said').textContent"
    hub(page, {"register": None})
    page.click_on("#send-table")
    page.wait(f"![ '', '...' ].includes({said})")
    assert page.evaluate(said) == "no SAMP hub answers; start TOPCAT or Aladin, and try again"
    refusal = xmlrpc.client.dumps(xmlrpc.client.Fault(1, "not <allowed>"))
    hub(page, {"register": refusal})
    page.evaluate("spoken(sendTable)()")
    assert page.evaluate(said) == "the SAMP hub says: not <allowed>"
    page.evaluate(
        "window.fetch = window.realFetch; samp.key = null; $('samp-said').textContent = ''"
    )


def test_the_sky_of_a_star_is_a_link_and_nothing_is_loaded(page):
    page.evaluate("choose(7)")
    link = page.evaluate("[$('sky-link').href, $('sky-link').rel, $('star-name').textContent]")
    assert link[0].startswith("https://aladin.cds.unistra.fr/AladinLite/?target=")
    assert link[1:] == ["noopener noreferrer", "58000-P-01-0007"]
    assert [url for url in page.requests() if not url.startswith(("file:", "data:", "blob:"))] == []


def test_a_telephones_window_holds_the_page(page):
    page.resize(420, 800)
    page.evaluate("new Promise((done) => setTimeout(done, 100))")
    page.evaluate("choose(3)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
    boxes = "[...document.querySelectorAll('.plot, #filters, #details')].map((e) => e.getBoundingClientRect())"
    assert page.evaluate(f"Math.max(...{boxes}.map((box) => box.right))") <= 420
    page.resize(1280, 800)
    page.evaluate("new Promise((done) => setTimeout(done, 100))")


def test_another_axis_can_be_chosen_and_narrow_windows_keep_the_view(page):
    page.evaluate(
        "(() => { const e = document.querySelector('select[aria-label=\"Kiel diagram: x axis\"]'); e.value = 'chi2';"
        "e.dispatchEvent(new Event('change')); })()"
    )
    assert page.evaluate("plots[0].x") == "chi2"
    assert page.evaluate("plots[0].nView") > 0.98 * N
    before = page.evaluate("scales(plots[0])[0].domain()")
    page.resize(1000, 700)
    page.evaluate("new Promise((done) => setTimeout(done, 100))")
    np.testing.assert_allclose(page.evaluate("scales(plots[0])[0].domain()"), before)
    page.resize(1280, 800)
    page.evaluate("plots[0].x = 'teff_rec'; fit(plots[0])")


def test_dense_plots_count_every_star_of_a_cell(tmp_path):
    rows = catalogue(12_000)
    write_parquet(tmp_path / "t.parquet", rows)
    build(tmp_path / "t.parquet", tmp_path / "t.html")
    _, table = unpacked(tmp_path / "t.html")
    (tmp_path / "browser").mkdir()
    with Browser(tmp_path / "browser") as page:
        # As in a browser that cannot decode base64 to bytes by itself.
        page.send("Page.addScriptToEvaluateOnNewDocument", source="delete Uint8Array.fromBase64")
        page.open(tmp_path / "t.html")
        page.wait("document.documentElement.dataset.ready === 'yes'")
        counts = np.array(page.evaluate("[...plots[0].chosen]"))
        [width, height, nx] = page.evaluate(
            "[plots[0].width, plots[0].height, plots[0].cells.width]"
        )
        x, y = page.evaluate("scales(plots[0]).map((scale) => scale.domain())")
        i = np.floor((table["teff_rec"] - x[0]) * (width / 2 / (x[1] - x[0])))
        j = np.floor((table["logg_rec"] - y[1]) * (height / 2 / (y[0] - y[1])))
        held = (i >= 0) & (i < nx) & (j >= 0) & (j < len(counts) // nx)
        want = np.bincount((j[held] * nx + i[held]).astype(int), minlength=len(counts))
        assert counts.sum() == held.sum() > 11_000
        # A star on the border of two cells may fall to either side in the last digit.
        assert np.abs(counts - want).sum() <= 4
        assert page.errors() == []


def test_a_catalogue_without_rows_has_a_page_too(tmp_path):
    write_parquet(tmp_path / "t.parquet", REGISTRY.empty(0))
    build(tmp_path / "t.parquet", tmp_path / "t.html")
    (tmp_path / "browser").mkdir()
    with Browser(tmp_path / "browser") as page:
        page.open(tmp_path / "t.html")
        page.wait("document.documentElement.dataset.ready === 'yes'")
        assert page.evaluate("document.querySelector('#status').textContent").startswith(
            "0 selected"
        )
        assert page.errors() == []


# ---------------------------------------------------------------- the rule


def snakemake(folder, *words):
    """Run the workflow in a folder; its output."""
    command = [
        *(warm_python(), "-m", "snakemake"),
        "--cores",
        "1",
        "--snakefile",
        PROJECT / "Snakefile",
        "--directory",
        folder,
        *words,
    ]
    done = subprocess.run(
        [*command, "--configfile", PROJECT / "config/demo.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_rule_writes_the_page_of_the_run(tmp_path):
    """With the columns of the default configuration's networks, of which this catalogue has two."""
    labels = [
        NetworkLabel(f"abs_mag_{band}", "mag", "phys.magAbs", "M", "gaia")
        for band in ("g_gaia", "ks")
    ]
    registry = load_registry(labels)
    rows = registry.empty(80)
    rows["obsid"], rows["spectral_type"] = np.arange(80), b"K"
    (tmp_path / "results/demo/catalog").mkdir(parents=True)
    pq.write_table(registry.to_arrow(rows), tmp_path / "results/demo/catalog/recommended.parquet")
    settings = ("--config", "explorer={max_rows: 8, rows: obsid > 39}")
    snakemake(tmp_path, "results/demo/explorer.html", "--allowed-rules", "explorer", *settings)
    meta, table = unpacked(tmp_path / "results/demo/explorer.html")
    assert (meta["n"], meta["n_rows"], meta["n_catalogue"]) == (8, 40, 80)
    assert table["obsid"].tolist() == list(range(44, 80, 5))
    assert meta["stars"] == "results/demo/stars"
    assert meta["plots"][3]["y"] is None


def test_the_page_is_part_of_a_run_unless_it_is_switched_off(tmp_path):
    assert re.search(r"^explorer ", snakemake(tmp_path, "--dry-run"), re.M)
    off = snakemake(tmp_path, "--dry-run", "--config", "explorer={enabled: false}")
    assert "merge" in off
    assert not re.search(r"^explorer ", off, re.M)

"""Files and counterparts from archives that fail, stall and lie; the release's tree beside its catalogue."""

import csv
import gzip
import hashlib
import io
import json
import logging
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import namedtuple
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from astropy.table import Table
from bad_server import serving
from fetching import BODY, QUICK, chunked, get, left_over, ranges
from urllib3.exceptions import MaxRetryError
from workflow_run import copy_project, snakemake

from lamostvac.configuration.root import load_configuration, read_configuration
from lamostvac.core.exceptions import UserError
from lamostvac.distance.schema import load_photometry
from lamostvac.external.read import read_table
from lamostvac.fetch import pieces as fetch_pieces
from lamostvac.fetch import plan, services, transfer
from lamostvac.fetch.client import Client, ClientSettings, DownloadError, TemporaryError
from lamostvac.fetch.sources import TapSource, XMatchSource, load_sources
from lamostvac.fetch.transfer import Checksum, download
from lamostvac.run import needs as run_needs
from lamostvac.survey import catalogue as survey_catalogue
from lamostvac.survey import selection, tree_check
from lamostvac.training.load import load_training_sets

# ---------------------------------------------------------------- one file


def test_a_file_comes_as_it_is_and_nothing_else_stays(server, client, tmp_path):
    assert get(client, server, tmp_path / "deep/a.fits", lambda request: request.file(BODY)) == BODY
    assert left_over(tmp_path / "deep") == ["a.fits"]
    assert server.seen[0][2]["User-Agent"] == "lamost-vac"


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_server_that_fails_for_a_while_is_asked_again(server, client, tmp_path, status):
    def behave(request):
        request.reply(status, b"busy") if request.number < 4 else request.file(BODY)

    assert get(client, server, tmp_path / "a.fits", behave) == BODY
    assert len(server.seen) == 4


def test_a_server_that_fails_for_ever_is_given_up_with_what_it_said(server, client, tmp_path):
    with pytest.raises(
        DownloadError, match=r"given up after 4 tries: the server answered 503 .*: come later"
    ):
        get(
            client, server, tmp_path / "a.fits", lambda request: request.reply(503, b"come\n later")
        )
    assert len(server.seen) == 4
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_the_wait_that_a_server_asks_for_is_kept(server, client, tmp_path, form):
    """The wait of our own would be 0.01 s; a date has whole seconds."""

    def behave(request):
        if request.number > 1:
            return request.file(BODY)
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)
        return request.reply(503, b"", Retry_After="2" if form == "seconds" else date)

    assert get(client, server, tmp_path / "a.fits", behave) == BODY
    assert 1 < server.times[1] - server.times[0] < 30


def test_a_server_that_asks_for_a_very_long_wait_ends_the_request(server, client, tmp_path):
    with pytest.raises(DownloadError, match=r"wants to be asked again in 2\.0 h; start again then"):
        get(
            client,
            server,
            tmp_path / "a.fits",
            lambda request: request.reply(503, b"", Retry_After="7200"),
        )
    assert len(server.seen) == 1


def test_waits_double_up_to_a_limit_and_are_the_same_in_every_run():
    retries, waits = ClientSettings(tries=10, first_wait=2, longest_wait=300).retries(), []
    for _ in range(9):
        retries = retries.increment(error=TemporaryError("busy"))
        waits.append(retries.get_backoff_time())
    assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 300]
    with pytest.raises(MaxRetryError):
        retries.increment(error=TemporaryError("busy"))


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (404, "there is no such file (answer 404)"),
        (401, "wants a login"),
        (403, "does not allow it"),
        (410, "gone"),
    ],
)
def test_what_will_not_get_better_is_not_asked_again(server, client, tmp_path, status, sentence):
    with pytest.raises(DownloadError) as caught:
        get(client, server, tmp_path / "a.fits", lambda request: request.reply(status, b"<html>"))
    assert sentence in str(caught.value)
    assert server.url("/f") in str(caught.value)
    assert len(server.seen) == 1


def test_a_connection_that_breaks_goes_on_where_it_broke(server, client, tmp_path):
    def behave(request):
        request.file(BODY, stop=300_000 if request.number == 1 else None)

    assert get(client, server, tmp_path / "a.fits", behave) == BODY
    first, second = ranges(server)
    assert first is None
    assert 0 < int(re.fullmatch(r"bytes=(\d+)-", second)[1]) <= 300_000
    assert server.seen[1][2]["If-Range"] == '"one"'


def test_a_later_run_goes_on_with_what_an_earlier_one_left(server, client, tmp_path):
    target = tmp_path / "a.fits"
    with pytest.raises(DownloadError, match="given up"):
        get(
            client,
            server,
            target,
            lambda request: request.file(BODY, stop=200_000 + request.number),
        )
    assert left_over(tmp_path) == ["a.fits.part", "a.fits.part.json"]
    have = (tmp_path / "a.fits.part").stat().st_size
    server.seen.clear()
    counted = []
    counter = type("Counter", (), {"add": lambda self, n=1: counted.append(n)})
    assert (
        get(
            client,
            server,
            target,
            lambda request: request.file(BODY),
            counter=lambda total: counter(),
        )
        == BODY
    )
    assert ranges(server) == [f"bytes={have}-"]
    assert counted[0] == have
    assert sum(counted) == len(BODY)
    assert left_over(tmp_path) == ["a.fits"]


def test_a_transfer_killed_before_the_renaming_needs_no_byte_more(server, client, tmp_path):
    url = server.url("/f")
    (tmp_path / "a.fits.part").write_bytes(BODY)
    notes = {"url": url, "validator": '"one"', "size": len(BODY)}
    (tmp_path / "a.fits.part.json").write_text(json.dumps(notes))
    assert get(client, server, tmp_path / "a.fits", lambda request: request.file(BODY)) == BODY
    assert server.seen == []


@pytest.mark.parametrize("how", ["no_ranges", "no_tag", "weak_tag"])
def test_where_the_server_cannot_go_on_the_file_begins_again(server, client, tmp_path, how):
    tag = {"no_ranges": '"one"', "no_tag": None, "weak_tag": 'W/"one"'}[how]

    def behave(request):
        stop = 300_000 if request.number == 1 else None
        request.file(BODY, stop=stop, tag=tag, ranges=how != "no_ranges")

    assert get(client, server, tmp_path / "a.fits", behave) == BODY
    # Without a strong tag nothing tells whether the rest belongs to the beginning.
    assert (ranges(server)[1] is None) == (how != "no_ranges")


def test_a_file_that_changed_meanwhile_is_not_pieced_together(server, client, tmp_path):
    other = BODY[:2880] + BODY[2880:][::-1]

    def behave(request):
        if request.number == 1:
            request.file(BODY, stop=300_000)
        else:
            request.file(other, tag='"two"')

    assert get(client, server, tmp_path / "a.fits", behave) == other


def test_a_server_that_goes_on_from_the_wrong_byte_is_not_believed(server, client, tmp_path):
    def behave(request):
        if request.number == 1:
            request.file(BODY, stop=300_000)
        elif request.number == 2:
            request.reply(206, BODY[1000:], Content_Range=f"bytes 1000-{len(BODY) - 1}/{len(BODY)}")
        else:
            request.file(BODY)

    assert get(client, server, tmp_path / "a.fits", behave) == BODY
    assert ranges(server)[2] is None


def test_a_part_longer_than_the_file_now_is_thrown_away(server, client, tmp_path):
    url = server.url("/f")
    (tmp_path / "a.fits.part").write_bytes(BODY + b"x" * 2880)
    notes = {"url": url, "validator": '"one"', "size": len(BODY) + 9000}
    (tmp_path / "a.fits.part.json").write_text(json.dumps(notes))
    assert get(client, server, tmp_path / "a.fits", lambda request: request.file(BODY)) == BODY


def test_a_body_shorter_than_announced_is_no_file(server, client, tmp_path):
    """`Content-Length` is right and the connection closes as if all were well."""

    def behave(request):
        request.reply(200, BODY[:-2880], length=len(BODY)) if request.number < 3 else request.file(
            BODY
        )

    assert get(client, server, tmp_path / "a.fits", behave) == BODY
    assert len(server.seen) == 3


def test_a_server_that_always_breaks_at_the_same_place_is_given_up(server, client, tmp_path):
    """It brings much each time, but nothing new."""
    body = BODY * 8

    def behave(request):
        if request.number > 20:  # or the test would never end
            request.reply(404, b"")
        else:
            request.file(body, stop=3_000_000, ranges=False)

    with pytest.raises(DownloadError, match="given up after 4 tries"):
        get(client, server, tmp_path / "a.fits", behave)
    assert len(server.seen) <= 5


def test_a_server_that_breaks_often_but_goes_on_is_not_given_up(server, client, tmp_path):
    body = BODY * 12
    size = len(body)

    def behave(request):
        start = int((request.headers.get("Range") or "bytes=0-")[6:-1])
        stop = start + 2 * transfer.PROGRESS_BYTES
        request.file(body, stop=stop if stop < size else None)

    assert (
        hashlib.sha256(get(client, server, tmp_path / "a.fits", behave)).digest()
        == hashlib.sha256(body).digest()
    )
    assert len(server.seen) > QUICK.tries


def test_a_stalled_connection_is_given_up_in_time(server, tmp_path):
    client = Client(
        ClientSettings(pause=0, stall=0.5, tries=3, first_wait=0.01),
        logging.getLogger("test_fetch"),
    )

    def behave(request):
        if request.number == 1:
            time.sleep(60)  # not even a status
        elif request.number == 2:
            request.send_response(200)
            request.send_header("Content-Length", str(len(BODY)))
            request.end_headers()
            request.wfile.write(BODY[:100_000])
            request.wfile.flush()
            time.sleep(60)
            request.hang_up()
        else:
            request.file(BODY)

    # Far from both the second that two stalls take and the minute of a server that is waited for:
    # a busy machine may be slow.
    began = time.monotonic()
    assert get(client, server, tmp_path / "a.fits", behave) == BODY
    assert time.monotonic() - began < 30


def test_a_web_page_is_no_file(server, client, tmp_path):
    page = b"<!DOCTYPE html>\n<html><head><title>Down for\nmaintenance</title></head></html>"
    with pytest.raises(
        DownloadError, match="a web page came instead of the file: Down for maintenance"
    ):
        get(client, server, tmp_path / "a.fits", lambda request: request.reply(200, page))
    assert len(server.seen) == 1
    assert left_over(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "body", "sentence"),
    [
        ("fits", b"", "the file is empty"),
        ("fits", b"ra,dec\n1,2\n", "it is no FITS file"),
        ("fits.gz", BODY, "not compressed with gzip"),
        ("fits.gz", gzip.compress(b"something else", mtime=0), "no FITS file inside"),
        ("fits.gz", gzip.compress(BODY, mtime=0)[:10] + b"\xff" * 100, "cannot be decompressed"),
        ("vizier", b"#\n#INFO\tError=no such catalogue\n#END#\n", "VizieR says: no such catalogue"),
        ("vizier", b"ID Teff\n", "no table of VizieR"),
    ],
)
def test_content_of_another_kind_is_refused(server, client, tmp_path, content, body, sentence):
    with pytest.raises(DownloadError, match=sentence):
        get(
            client,
            server,
            tmp_path / "a",
            lambda request: request.reply(200, body),
            content=content,
        )
    assert left_over(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "body"),
    [
        ("fits", BODY),
        ("fits.gz", gzip.compress(BODY, 1, mtime=0)),
        ("vizier", b"#INFO\n\nID\tTeff\n\tK\n--\t--\na\t5000\nb\t6000\n\n#END#\n"),
    ],
)
def test_without_a_size_the_content_tells_whether_the_end_is_there(
    server, client, tmp_path, content, body
):
    def behave(request):
        chunked(request, body[: -len(body) // 3] if request.number == 1 else body)

    assert get(client, server, tmp_path / "a", behave, content=content) == body
    assert len(server.seen) == 2


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_a_checksum_decides(server, client, tmp_path, algorithm):
    right = hashlib.new(algorithm, BODY).hexdigest()
    get(
        client,
        server,
        tmp_path / "a.fits",
        lambda r: r.file(BODY),
        checksum=Checksum(algorithm, right.upper()),
    )
    flipped = bytes([BODY[-1] ^ 1])
    with pytest.raises(DownloadError, match=f"not the file that it should be: its {algorithm} is "):
        get(
            client,
            server,
            tmp_path / "b.fits",
            lambda request: request.file(BODY[:-1] + flipped),
            checksum=Checksum(algorithm, right),
        )
    assert left_over(tmp_path) == ["a.fits"]


def test_a_file_of_another_size_is_refused_before_it_comes(server, client, tmp_path):
    with pytest.raises(DownloadError, match=rf"has {len(BODY)} bytes where 5 are expected"):
        get(client, server, tmp_path / "a.fits", lambda request: request.file(BODY), size=5)
    assert left_over(tmp_path) == []


def test_redirects_are_followed_and_endless_ones_refused(server, client, tmp_path):
    server.paths["/other"] = lambda request: request.file(
        BODY, stop=300_000 if request.number == 1 else None
    )
    moved = get(
        client,
        server,
        tmp_path / "a.fits",
        lambda request: request.reply(302, b"", Location="/other"),
    )
    assert moved == BODY
    with pytest.raises(DownloadError, match="redirects"):
        get(
            client,
            server,
            tmp_path / "b.fits",
            lambda request: request.reply(302, b"", Location="/f"),
        )


def test_gzip_that_a_server_declares_as_encoding_is_left_alone(server, client, tmp_path):
    """Some servers call a .gz file an encoding of what is inside."""
    body = gzip.compress(BODY, 1, mtime=0)
    behave = lambda request: request.reply(200, body, Content_Encoding="gzip")  # noqa: E731
    assert get(client, server, tmp_path / "a.fits.gz", behave, content="fits.gz") == body
    assert server.seen[0][2]["Accept-Encoding"] == "identity"


def test_a_disk_that_is_too_small_is_told_before_anything_is_written(
    server, client, tmp_path, monkeypatch
):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(
        shutil, "disk_usage", lambda folder: usage(0, 0, transfer.FREE_BYTES + 1000)
    )
    with pytest.raises(DownloadError, match=r"needs 0\.0 GB more .* make room"):
        get(client, server, tmp_path / "a.fits", lambda request: request.file(BODY))
    assert not (tmp_path / "a.fits").exists()


def test_a_file_that_somebody_brought_meanwhile_stays(server, client, tmp_path):
    target = tmp_path / "a.fits"

    def behave(request):
        target.write_bytes(b"mine")
        request.file(BODY)

    assert get(client, server, target, behave) == b"mine"
    assert left_over(tmp_path) == ["a.fits"]


def test_an_address_that_nobody_answers_is_named(client, tmp_path):
    with serving() as gone:
        url = gone.url("/f")
    with pytest.raises(
        DownloadError, match=r"given up after 4 tries: the connection failed \(.*refused"
    ):
        download(client, url, tmp_path / "a.fits")
    with pytest.raises(DownloadError, match="nonsense"):
        download(client, "nonsense", tmp_path / "a.fits")


def test_a_name_that_does_not_resolve_is_told_at_once_and_not_asked_for_again(
    client, tmp_path, monkeypatch
):
    asked = []

    def getaddrinfo(host, *arguments):
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(
        DownloadError,
        match=r"^archive\.invalid is not found: there is no network, or no such host$",
    ):
        download(client, "http://archive.invalid/f", tmp_path / "a.fits")
    assert asked == ["archive.invalid"]


def test_a_stopped_client_waits_for_nothing_and_asks_for_nothing(server, tmp_path):
    client = Client(ClientSettings(pause=0, first_wait=3600), logging.getLogger("test_fetch"))

    def behave(request):
        client.stop()
        request.reply(503, b"busy")

    with pytest.raises(DownloadError, match="stopped"):
        get(client, server, tmp_path / "a.fits", behave)
    with pytest.raises(DownloadError, match="stopped"):
        get(client, server, tmp_path / "a.fits", behave)
    assert len(server.seen) == 1


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_fetch_that_waits_for_an_archive_can_be_stopped(server, project, tmp_path, how):
    """The server never answers; the test would end by its limit of a minute."""
    process = []

    def behave(request):
        process[0].send_signal(how)
        time.sleep(100)

    server.paths["/f"] = behave
    names = ("connections", "pause", "stall", "tries", "first_wait")
    settings = {name: getattr(ClientSettings(stall=100), name) for name in names}
    params = {
        "folder": str(tmp_path), "needs": plan.needs_as_params([need_of(server, tmp_path / "a.fits")]),
        "settings": settings | {"contact": "", "offline": False, "piece_rows": 10},
    }  # fmt: skip
    program = (
        "import json, runpy, signal, sys, types\n"
        # A shell that starts the tests in the background lets its children ignore Ctrl-C.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "params = types.SimpleNamespace(**json.loads(sys.argv[2]))\n"
        "job = types.SimpleNamespace(params=params, log=[sys.argv[3]])\n"
        "runpy.run_path(sys.argv[1])['main'](job)\n"
    )
    script, log = project / "workflow_scripts/fetch.py", tmp_path / "fetch.log"
    command = [sys.executable, "-c", program, str(script), json.dumps(params), str(log)]
    process.append(subprocess.Popen(command, cwd=project))
    try:
        assert process[0].wait(60) == 130
    finally:
        process[0].kill()
        process[0].wait()
    assert "stopped; what has come so far stays" in log.read_text()


# ---------------------------------------------------------------- counterparts

COLUMNS = {"ra": ["RAJ2000", "RA"], "dec": "DEJ2000", "j_m": "Jmag", "r'mag": "r'mag"}


def source(server, **changes):
    settings = {
        "name": "twomass", "title": "", "place": "networks.root", "file": "twomass/twomass.csv", "service": "xmatch",
        "url": server.url("/sync"), "table": "vizier:II/246/out", "radius": 5, "columns": COLUMNS,
    }  # fmt: skip
    return XMatchSource(**settings | changes)


def tap_source(server, **changes):
    settings = {
        "name": "gaia", "title": "", "place": "networks.root", "file": "gaia/gaia.tsv", "service": "tap",
        "url": server.url("/sync"), "query": "SELECT x FROM t, TAP_UPLOAD.stars AS l", "columns": COLUMNS,
    }  # fmt: skip
    return TapSource(**settings | changes)


@pytest.fixture
def stars():
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {"lamost_class": "STAR", "ra": rng.uniform(0, 360, 400), "dec": rng.uniform(-5, 60, 400)}
    ).sample(frac=1, random_state=1)
    # Pairs closer than the radius: each has the other's counterpart too.
    near = frame.head(60).assign(ra=frame["ra"] + 2e-4, dec=frame["dec"] + 2e-4)
    return services.star_list(catalogue(pd.concat([frame, near])), ["STAR"])


def catalogue(frame):
    table = pa.Table.from_pandas(frame, preserve_index=False)
    return table.set_column(
        table.column_names.index("lamost_class"),
        "lamost_class",
        table["lamost_class"].dictionary_encode(),
    ).unify_dictionaries()


def uploaded(body):
    """The positions in a request, as sent."""
    text = body.decode()
    rows = re.findall(r"^(\d+\.\d{5}),(-?\d+\.\d{5})$", text, re.M)
    return rows or re.findall(r"<TD>(.*?)</TD><TD>(.*?)</TD>", text)


def sky_service(
    request, header="star_ra,star_dec,RAJ2000,DEJ2000,Jmag,r'mag,Qfl", limit=10**9, seed=None
):
    """Two counterparts near each star, the same ones for stars that are near each other; rows in any order."""
    rows = []
    for ra, dec in uploaded(request.body):
        place = (round(float(ra), 3), round(float(dec), 3))
        for number in (1, 2):
            rows.append(
                [
                    ra,
                    dec,
                    f"{place[0]:.3f}{number}",
                    f"{place[1]:.3f}{number}",
                    str(number),
                    "",
                    "A,B",
                ]
            )
    np.random.default_rng(seed or request.number).shuffle(rows)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header.split(","))
    writer.writerows(rows[:limit])
    request.reply(200, out.getvalue().encode())


def fetch_match(client, server, wanted, stars, folder, size, behave=sky_service):
    server.paths["/sync"] = behave
    target = folder / wanted.file
    pieces = fetch_pieces.pieces_of(wanted, stars, size, target)
    asked = fetch_pieces.fetch_pieces(client, wanted, pieces)
    fetch_pieces.join_pieces(wanted, pieces, target)
    return target, asked


def test_the_stars_are_those_of_the_catalogue_once_each_by_declination():
    frame = pd.DataFrame(
        {
            "lamost_class": ["STAR", "star", "STAR", "GALAXY", "STAR", "STAR", "STAR", "STAR"],
            "ra": [10.000001, 10.000002, 359.999999, 5.0, 20.0, np.nan, 400.0, 4.2],
            "dec": [20.0, 20.0, -3.0, 5.0, -90.0, 1.0, 1.0, 20.0],
        }
    )
    found = services.star_list(catalogue(frame), ["Star"])
    assert found.tolist() == [[20.0, -90.0], [0.0, -3.0], [4.2, 20.0], [10.0, 20.0]]


def test_xmatch_is_asked_as_its_documents_say(server, client, stars, tmp_path):
    fetch_match(client, server, source(server), stars[:5], tmp_path, 10)
    (method, path, headers), body = server.seen[0], server.bodies[0].decode()
    assert (method, path) == ("POST", "/sync")
    assert headers["Content-Type"].startswith("multipart/form-data")
    fields = dict(re.findall(r'name="(\w+)"\r\n\r\n(.*?)\r\n', body))
    assert fields == {
        "request": "xmatch", "RESPONSEFORMAT": "csv", "cat2": "vizier:II/246/out", "distMaxArcsec": "5",
        "selection": "all", "colRA1": "star_ra", "colDec1": "star_dec", "MAXREC": "1000000",
    }  # fmt: skip
    assert 'name="cat1"; filename=' in body
    assert "star_ra,star_dec\n" in body
    assert [(float(ra), float(dec)) for ra, dec in uploaded(server.bodies[0])] == [
        tuple(s) for s in stars[:5].tolist()
    ]


def test_tap_is_given_the_query_and_the_stars_as_a_votable(server, client, stars, tmp_path):
    wanted = tap_source(server)
    target, _ = fetch_match(client, server, wanted, stars[:5], tmp_path, 10)
    body = server.bodies[0].decode()
    fields = dict(re.findall(r'name="(\w+)"\r\n\r\n(.*?)\r\n', body))
    assert fields["QUERY"] == wanted.query
    assert (fields["REQUEST"], fields["LANG"], fields["FORMAT"]) == ("doQuery", "ADQL", "csv")
    assert fields["UPLOAD"] == "stars,param:stars"
    assert 'name="stars"; filename=' in body
    votable = body[body.index("<?xml") : body.index("</VOTABLE>") + 10]
    table = Table.read(io.BytesIO(votable.encode()), format="votable")
    np.testing.assert_allclose(
        np.column_stack([np.asarray(table[name]) for name in ("ra", "dec")]),
        stars[:5],
        rtol=0,
        atol=5e-9,
    )
    assert target.read_text().startswith("ra\tdec\tj_m\tr'mag\n")


def test_the_file_has_each_counterpart_once_with_our_names_and_is_the_same_for_any_pieces(
    server, client, stars, tmp_path
):
    files = {}
    for size in (7, 50, 1000):
        target, asked = fetch_match(
            client, server, source(server), stars, tmp_path / str(size), size
        )
        assert asked == -(-len(stars) // size)
        files[size] = target.read_bytes()
        assert left_over(target.parent) == ["twomass.csv"]
    assert files[7] == files[50] == files[1000]
    table = read_table(target, {name: name for name in COLUMNS})
    places = {(round(ra, 3), round(dec, 3)) for ra, dec in stars.tolist()}
    assert len(places) < len(stars)
    assert len(table) == 2 * len(places)
    assert not table.duplicated().any()
    assert table["dec"].is_monotonic_increasing
    assert table["r'mag"].isna().all()


def test_a_run_that_ended_asks_only_for_the_pieces_that_did_not_come(
    server, client, stars, tmp_path
):
    """The fourth piece fails for good; what came before it stays."""

    def behave(request):
        if request.number >= 4:
            request.reply(
                400,
                b"<VOTABLE><INFO name='QUERY_STATUS' value='ERROR'>Message: no more</INFO></VOTABLE>",
            )
        else:
            sky_service(request)

    alone = Client(ClientSettings(connections=1, pause=0), client.log)
    with pytest.raises(
        DownloadError, match=r"does not understand the request .*: Message: no more"
    ):
        fetch_match(alone, server, source(server), stars, tmp_path, 50, behave)
    n_pieces = -(-len(stars) // 50)
    assert len(left_over(tmp_path / "twomass/twomass.csv.pieces")) == 3
    target, asked = fetch_match(alone, server, source(server), stars, tmp_path, 50)
    assert asked == n_pieces - 3
    whole, _ = fetch_match(client, server, source(server), stars, tmp_path / "other", 50)
    assert target.read_bytes() == whole.read_bytes()


def test_pieces_of_another_list_or_question_are_not_taken(server, stars, tmp_path):
    def names(wanted, positions):
        return {
            piece.path for piece in fetch_pieces.pieces_of(wanted, positions, 50, tmp_path / "x")
        }

    once = names(source(server), stars)
    assert once == names(source(server, title="Another title"), stars)
    assert not once & names(source(server, radius=4), stars)
    assert not once & names(source(server), stars + 1)


def test_an_answer_that_is_cut_off_is_asked_for_in_halves(server, client, stars, tmp_path):
    limited = source(server, max_rows=30)
    target, _ = fetch_match(
        client, server, limited, stars, tmp_path, 100, lambda r: sky_service(r, limit=30)
    )
    whole, _ = fetch_match(client, server, source(server), stars, tmp_path / "other", 100)
    assert target.read_bytes() == whole.read_bytes()
    assert max(len(uploaded(body)) for body in server.bodies) == 100
    with pytest.raises(DownloadError, match="counterparts of one star"):
        fetch_match(client, server, source(server, max_rows=1), stars, tmp_path / "one", 100)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"<html><title>Sorry</title></html>", "answers with a web page: Sorry"),
        (
            b'<?xml version="1.0"?>\n<VOTABLE><RESOURCE><INFO name="QUERY_STATUS" value="ERROR"> Message:\n '
            b"Missing parameter.</INFO></RESOURCE></VOTABLE>",
            "answers with an error: Message: Missing parameter.",
        ),
        (
            b"angDist,RAJ2000,DEJ2000,Jmag\n1,2,3,4\n",
            "has no column r'mag (for r'mag); it has angDist, RAJ2000, DEJ2000, Jmag; change `columns`",
        ),
        (b"angDist,RAJ2000,DEJ2000,Jmag,r'mag\n", "has no counterpart of any star"),
        (b"", "has no counterpart of any star"),
    ],
)
def test_an_answer_that_is_no_table_is_told_in_a_sentence(
    server, client, stars, tmp_path, body, sentence
):
    with pytest.raises(DownloadError) as caught:
        fetch_match(
            client, server, source(server), stars, tmp_path, 1000, lambda r: r.reply(200, body)
        )
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "twomass/twomass.csv").exists()


def test_an_answer_that_breaks_off_is_asked_for_again(server, client, stars, tmp_path):
    header = b"RAJ2000,DEJ2000,Jmag,r'mag\n"

    def behave(request):
        if request.number == 1:
            request.reply(200, header + b"1,2,3,4\n5,6")
        elif request.number == 2:
            request.reply(200, header + b"1,2,3,4\n", length=4000)
        else:
            request.reply(200, header + b"1,2,3,4\n5,6,7,8\n")

    target, _ = fetch_match(client, server, source(server), stars, tmp_path, 1000, behave)
    assert target.read_text() == "ra,dec,j_m,r'mag\n1,2,3,4\n5,6,7,8\n"
    assert len(server.seen) == 3


def test_names_that_differ_in_case_only_are_kept_apart(server):
    wanted = source(server, columns={"dec": "dec", "r_lo_geo": "b_rgeo", "r_hi_geo": "B_rgeo"})
    assert services.rows_of(b"DEC,B_rgeo,b_rgeo\n1,9,5\n", wanted) == [["1", "5", "9"]]


class _RecordingClient(Client):
    """Keeps when each request's turn came.

    The times at which requests reach the server would not do: a busy machine starts threads late.
    """

    def __init__(self, settings, log):
        super().__init__(settings, log)
        self.turns = []

    def _wait(self, seconds):
        super()._wait(seconds)
        self.turns.append(time.monotonic())


@pytest.mark.parametrize("connections", [1, 3])
def test_no_more_connections_than_allowed_and_a_pause_between_requests(
    server, stars, tmp_path, connections
):
    settings = ClientSettings(connections=connections, pause=0.03)
    client = _RecordingClient(settings, logging.getLogger("test_fetch"))

    def behave(request):
        time.sleep(0.15)
        sky_service(request)

    # Two sources of one host at a time, as a fetch of all of them asks.
    states = []
    for name in ("twomass", "allwise"):
        wanted = source(server, name=name, file=f"{name}.csv").model_dump(mode="json")
        need = plan.Need(str(tmp_path / f"{name}.csv"), wanted, ["a test"], False)
        states.append(plan.State(need, "missing"))
    server.paths["/sync"] = behave
    done = plan.fetch_all(states, client, stars, 40)
    assert [state.state for state in done] == ["fetched", "fetched"]
    assert server.most == connections
    assert len(client.turns) == len(server.seen)
    assert np.diff(client.turns).min() >= 0.999 * settings.pause


# ---------------------------------------------------------------- the sources and what the workflow reads


@pytest.fixture(scope="module")
def sources(project):
    return {entry.name: entry for entry in load_sources(project / "config/sources.yaml")}


def tables_read(project):
    photometry = load_photometry(project / "config/photometry.yaml")
    yield from (table for _, table in photometry.tables())
    for entry in load_training_sets(project / "config/training_sets.yaml"):
        if entry.catalogue is not None:
            yield from [entry.catalogue, *entry.join]


def test_fetched_files_have_the_columns_that_are_read(project, sources):
    by_file = {entry.file: entry for entry in sources.values()}
    checked = set()
    for table in tables_read(project):
        entry = by_file.get(table.file)
        if entry is not None and entry.service != "file":
            assert set(table.columns.values()) <= set(entry.columns), table.file
            checked.add(entry.name)
    assert checked == {"gaia", "distances", "twomass", "allwise", "apass", "sdss"}


def test_queries_give_the_columns_that_their_source_names(sources):
    for entry in sources.values():
        if isinstance(entry, TapSource):
            given = re.findall(r" AS (\w+)", entry.query.split("FROM")[0])
            assert given == list(entry.columns)
            radius = float(re.search(r"l\.dec, ([\d.]+)\)", entry.query)[1])
            assert radius * 3600 == pytest.approx(5, abs=1e-4)


def test_a_fetched_table_is_what_the_workflow_reads(
    project, server, client, stars, sources, tmp_path
):
    """Every table by the shipped columns, from a service that answers with the archive's."""
    done = {}
    for entry in sources.values():
        if entry.service == "file":
            continue
        names = [candidates[0] for _, candidates in entry.names()]
        place = services.declination(entry)

        def behave(request, names=names, place=place):
            rows = [[str(number + 1)] * place + [dec] + ["7.5"] * (len(names) - place - 1)
                    for number, (_, dec) in enumerate(uploaded(request.body))]  # fmt: skip
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows([names, *rows])
            request.reply(200, text.getvalue().encode())

        local = entry.model_copy(update={"url": server.url("/sync")})
        done[entry.file], _ = fetch_match(client, server, local, stars, tmp_path, 100, behave)
    for table in tables_read(project):
        if table.file in done:
            frame = read_table(
                done[table.file],
                table.columns,
                identifiers=["gaia_source_id"],
                missing=table.missing,
            )
            assert len(frame) == len(stars)
            assert list(frame) == list(table.columns)


def test_the_release_configurations_read_what_the_sources_have(project):
    for release in ("dr8", "dr10"):
        needs = run_needs.needs_of(read_configuration(project / f"config/lamost_{release}.yaml"))
        names = [need.source["name"] if need.source else Path(need.path).name for need in needs]
        assert names == [
            "mastar_spectra", "mastar_labels", "apogee", "pastel", "gaia", "distances", "twomass", "allwise", "apass",
            "sdss", "ebv.csv", "ebv_map.csv",
        ]  # fmt: skip
        by_name = dict(zip(names, needs, strict=True))
        assert by_name["mastar_spectra"].path == "data/mastar/mastar-goodspec-v3_1_1-v1_7_7.fits.gz"
        assert by_name["gaia"].read_by == ["training set lgmwas", "photometry catalogue"]
        assert not by_name["gaia"].optional
        assert by_name["ebv_map.csv"].optional


REAL = {"simulation": {"enabled": False}, "survey": {"catalogues": ["c.csv"]}}


def test_other_configurations_need_other_files(project, monkeypatch):
    monkeypatch.chdir(project)

    def names(**sections):
        needs = run_needs.needs_of(load_configuration({**REAL, **sections}))
        return [need.source["name"] if need.source else need.path for need in needs]

    miles = {"format": "miles", "name": "miles", "spectra": "m.fits"}
    assert (
        names(library=miles, networks={"training_sets": None}, photometry={"enabled": False}) == []
    )
    assert names(library={"spectra": "x/other.fits", "labels_file": "y.fits"}, networks={"training_sets": None},
                 photometry={"enabled": False}) == ["x/other.fits", "y.fits"]  # fmt: skip
    assert names(library=miles, fetch={"sources": ["gaia", "pastel"]}) == ["pastel", "gaia"]
    roots = {"photometry": {"root": "p"}, "networks": {"root": "n"}}
    own = run_needs.needs_of(load_configuration({**REAL, "library": miles, **roots}))
    assert {need.path for need in own if need.source and need.source["name"] == "gaia"} == {
        "n/gaia/gaia_edr3.csv", "p/gaia/gaia_edr3.csv",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("sections", "sentence"),
    [
        ({}, "simulation.enabled is true"),
        (
            {**REAL, "library": {"spectra": "x"}, "fetch": {"sources": ["gaja"]}},
            "gaja: there is no such source",
        ),
        (
            {**REAL, "library": {"spectra": "x"}, "fetch": {"sources": ["mastar_spectra"]}},
            "does not read that file",
        ),
        (
            {**REAL, "library": {"spectra": "x"}, "fetch": {"file": "none.yaml"}},
            "fetch.file none.yaml cannot be read",
        ),
    ],
)
def test_a_mistake_in_what_to_fetch_is_named(project, monkeypatch, sections, sentence):
    monkeypatch.chdir(project)
    with pytest.raises(UserError, match=re.escape(sentence)):
        run_needs.needs_of(load_configuration(sections))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"service": "ftp"}, "source a: "),
        ({"file": "../x"}, "source a: file: it is relative"),
        ({"checksum": "sha256:12"}, "source a: checksum: it is sha1 or sha256"),
        ({"urls": []}, "source a: urls: "),
        (
            {"urls": ["ftp://a.example/u"]},
            "source a: urls.0: it is an address that begins https://",
        ),
        ({"urls": ["https://a b"]}, "source a: urls.0: it is an address that begins https://"),
        ({"colour": 1}, "source a: colour: "),
        ({"place": "there"}, "source a: place: "),
    ],
)
def test_a_mistake_in_the_sources_is_named(tmp_path, change, sentence):
    entry = {
        "name": "a",
        "title": "",
        "place": "networks.root",
        "file": "x",
        "service": "file",
        "urls": ["https://a.example/u"],
    }
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump({"sources": [entry | change]}))
    with pytest.raises(UserError) as caught:
        load_sources(path)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- what is there already


def need_of(server, path, **changes):
    settings = {
        "name": "apogee", "title": "APOGEE", "place": "networks.root", "file": path.name, "service": "file",
        "urls": [server.url("/f")], "content": "fits",
    }  # fmt: skip
    return plan.Need(str(path), settings | changes, ["training set apogee"], False)


def test_a_file_that_is_there_is_looked_at_and_never_touched(server, client, tmp_path):
    path = tmp_path / "a.fits"
    path.write_bytes(BODY)
    before = path.stat()
    state = plan.inspect(need_of(server, path))
    assert (state.state, state.size, state.digest) == (
        "there",
        len(BODY),
        hashlib.sha256(BODY).hexdigest(),
    )
    assert (tmp_path / plan.CHECKSUMS).read_text() == f"{state.digest}  a.fits\n"
    assert plan.fetch_all([state], client, None, 10) == [state]
    assert server.seen == []
    assert path.stat() == before


def test_a_file_that_changed_since_it_was_first_seen_is_told(server, client, tmp_path):
    path = tmp_path / "a.fits"
    path.write_bytes(BODY)
    plan.inspect(need_of(server, path))
    path.write_bytes(BODY[:2880] + BODY[2880:][::-1])
    state = plan.inspect(need_of(server, path))
    assert state.state == "wrong"
    assert hashlib.sha256(BODY).hexdigest() in state.detail
    assert plan.fetch_all([state], client, None, 10) == [state]
    assert path.exists()


@pytest.mark.parametrize("how", ["truncated", "page", "published"])
def test_a_damaged_file_is_told_and_its_checksum_not_noted(server, tmp_path, how):
    path = tmp_path / "a.fits"
    path.write_bytes(
        {"truncated": BODY[:-7], "page": b"<html>login</html>", "published": BODY}[how]
    )
    changes = {"checksum": "sha1:" + "0" * 40} if how == "published" else {}
    state = plan.inspect(need_of(server, path, **changes))
    assert state.state == "wrong"
    assert "remove it to have it fetched again" in state.detail
    assert not (tmp_path / plan.CHECKSUMS).exists()


def test_a_file_that_is_fetched_again_must_be_the_one_that_was_there(server, client, tmp_path):
    path = tmp_path / "a.fits"
    server.paths["/f"] = lambda request: request.file(
        BODY if request.number == 1 else BODY[:2880] + BODY[2880:][::-1]
    )
    (first,) = plan.fetch_all([plan.inspect(need_of(server, path))], client, None, 10)
    assert first.state == "fetched"
    path.unlink()
    (second,) = plan.fetch_all([plan.inspect(need_of(server, path))], client, None, 10)
    assert second.state == "failed"
    assert "not the file that it should be" in second.detail


def test_one_file_that_fails_does_not_keep_the_others_and_mirrors_are_tried(
    server, client, tmp_path
):
    server.paths["/mirror"] = server.paths["/c"] = lambda request: request.file(BODY)
    needs = [
        need_of(server, tmp_path / "a.fits", urls=[server.url("/none")]),
        need_of(server, tmp_path / "b.fits", urls=[server.url("/none"), server.url("/mirror")]),
        need_of(server, tmp_path / "c.fits", urls=[server.url("/c")]),
    ]
    states = plan.fetch_all([plan.inspect(need) for need in needs], client, None, 10)
    assert [state.state for state in states] == ["failed", "fetched", "fetched"]
    assert plan.problems(states) == [states[0]]
    plan.write_report(states, tmp_path / "files.csv")
    report = pd.read_csv(tmp_path / "files.csv", keep_default_na=False)
    assert list(report["state"]) == ["failed", "fetched", "fetched"]
    assert list(report["sha256"]) == ["", *[hashlib.sha256(BODY).hexdigest()] * 2]


def test_a_folder_that_cannot_be_written_is_a_sentence(server, client, tmp_path):
    (tmp_path / "file").write_text("no folder")
    state = plan.State(need_of(server, tmp_path / "file/a.fits"), "missing")
    (done,) = plan.fetch_all([state], client, None, 10)
    assert done.state == "failed"
    assert "cannot be written" in done.detail


# ---------------------------------------------------------------- as a user starts it


@pytest.fixture
def small_release(project, tmp_path, server):
    """A copy of the project with a small release, and sources that are on the server."""
    folder = copy_project(project, tmp_path / "run")
    rows = release_rows(12)
    (folder / "lamost").mkdir()
    pd.DataFrame(rows).to_csv(folder / "lamost/c.csv", sep="|", index=False)
    entries = [
        {"name": "mastar_spectra", "title": "MaStar", "place": "library.spectra", "file": "m.fits", "service": "file",
         "content": "fits", "urls": [server.url("/f")]},
        {"name": "pastel", "title": "PASTEL", "place": "networks.root", "file": "pastel/pastel.tsv", "service": "file",
         "content": "vizier", "urls": [server.url("/p")]},
        source(server).model_dump(mode="json"),
    ]  # fmt: skip
    (folder / "sources.yaml").write_text(yaml.safe_dump({"sources": entries}, sort_keys=False))
    sets = yaml.safe_load((folder / "training_sets.yaml").read_text())["training_sets"]
    (folder / "training_sets.yaml").write_text(
        yaml.safe_dump({"training_sets": sets[:1]}, sort_keys=False)
    )
    (folder / "photometry.yaml").write_text(
        "catalogue: {file: twomass/twomass.csv, columns: {ra: ra, dec: dec}}\nmatch: {by: sky}\n"
    )
    configuration = {
        "simulation": {"enabled": False},
        "survey": {"root": "lamost", "catalogues": ["c.csv"]},
        "library": {"spectra": "data/m.fits", "format": "mastar"},
        "networks": {"training_sets": "training_sets.yaml", "root": "data"},
        "photometry": {"file": "photometry.yaml"},
        "fetch": {"file": "sources.yaml", "pause": 0, "first_wait": 0.01, "tries": 3, "piece_rows": 5,
                  "contact": "me@example.org"},
    }  # fmt: skip
    (folder / "tiny.yaml").write_text(yaml.safe_dump(configuration))
    return folder


@pytest.mark.slow
def test_fetch_brings_what_is_missing_and_leaves_what_is_there(small_release, server):
    mine = small_release / "data/pastel/pastel.tsv"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"ID\tTeff\n\tK\n--\t--\na\t1\n\n#END#\n")
    before = mine.stat().st_mtime_ns
    server.paths["/f"] = lambda request: request.file(BODY)
    server.paths["/sync"] = sky_service

    said = snakemake(small_release, "--cores", "1", "fetch", "--config", "fetch={offline: true}")
    assert server.seen == []
    for part in (
        "1 of 3 files are there",
        "data/m.fits",
        server.url("/f"),
        "stars.fits",
        "r'mag",
        "vizier:II/246/out",
    ):
        assert part in said
    assert (small_release / "results/fetch/bring.txt").read_text() in said.replace("\r", "")
    assert len(Table.read(small_release / "results/fetch/stars.fits")) == 10

    said = snakemake(small_release, "--cores", "1", "fetch")
    assert (small_release / "data/m.fits").read_bytes() == BODY
    assert len(pd.read_csv(small_release / "data/twomass/twomass.csv")) == 20
    assert mine.stat().st_mtime_ns == before
    assert {headers["User-Agent"] for _, _, headers in server.seen} == {
        "lamost-vac (me@example.org)"
    }
    states = pd.read_csv(small_release / "results/fetch/files.csv").set_index("source")["state"]
    assert states.to_dict() == {
        "mastar_spectra": "fetched",
        "pastel": "there",
        "twomass": "fetched",
    }

    # Again: everything is there, so nothing is asked; then one file is gone and nobody has it any more.
    asked = len(server.seen)
    assert "everything that the run needs is there" in snakemake(
        small_release, "--cores", "1", "fetch"
    )
    assert len(server.seen) == asked
    (small_release / "data/m.fits").unlink()
    del server.paths["/f"]
    said = snakemake(small_release, "--cores", "1", "fetch", code=1)
    assert "1 of 3 files are not there or not right, the first data/m.fits" in said
    assert "there is no such file (answer 404)" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_run_without_its_training_files_still_says_so_before_any_job(small_release):
    said = snakemake(small_release, "--cores", "1", "--dry-run", code=1)
    assert "Error: training set pastel: there is no file data/pastel/pastel.tsv" in said
    assert "Traceback" not in said


# ---------------------------------------------------------------- the release's tree


def release_rows(n, per_plate=5):
    rows = []
    for number in range(n):
        plate = number // per_plate
        rows.append(
            {
                "obsid": number + 1, "obsdate": f"2011-10-{plate + 1:02d}", "lmjd": 55835 + plate,
                "planid": f"P{plate}", "spid": 1, "fiberid": number % per_plate + 1, "ra": 10 + 0.1 * number,
                "dec": 20 + 0.01 * number, "class": "GALAXY" if number % per_plate == 4 else "STAR",
                "subclass": "G5", "z": 1e-4, "snrr": 30.0,
            }
        )  # fmt: skip
    return rows


def place(root, row, suffix=".fits.gz"):
    folder = root / row["obsdate"].replace("-", "") / row["planid"]
    return (
        folder
        / f"spec-{row['lmjd']}-{row['planid']}_sp{row['spid']:02d}-{row['fiberid']:03d}{suffix}"
    )


@pytest.fixture
def tree(tmp_path):
    """Twenty spectra on four plates; each kind of finding occurs."""
    rows = release_rows(20)
    root = tmp_path / "lamost"
    root.mkdir()
    pd.DataFrame(rows).to_csv(root / "c.csv", sep="|", index=False)
    for row in rows:
        if row["planid"] != "P3":  # a plate that nobody fetched
            place(root, row).parent.mkdir(parents=True, exist_ok=True)
            place(root, row).write_bytes(b"x")
    place(root, rows[0]).unlink()
    place(root, rows[4]).unlink()  # a galaxy, which the survey does not take
    place(root, rows[1]).write_bytes(b"")
    place(root, rows[5]).rename(place(root, rows[5], ".fits"))
    (place(root, rows[6]).parent / "spec-1-P1_sp01-250.fits.gz").write_bytes(b"y")
    (place(root, rows[6]).parent / "notes.txt").write_text("of no interest")
    lost = root / "20200101/OLD"
    lost.mkdir(parents=True)
    (lost / "spec-2-OLD_sp01-001.fits.gz").write_bytes(b"y")
    link = place(root, rows[10])
    link.unlink()
    link.symlink_to("nowhere")
    return root, rows


def check(root, paths=("c.csv",), **arguments):
    table = survey_catalogue.read_catalogues([root / name for name in paths])
    settings = load_configuration({**REAL, "library": {"spectra": "x"}}).survey
    wanted = selection.select(table, settings).steps < 0
    expected = tree_check.expected_folders(table, wanted, str(root), settings.file_pattern)
    return list(tree_check.compare(expected, [str(root / name) for name in paths], **arguments))


def findings(folders):
    return sorted(
        (what, file, identifier, number)
        for folder in folders
        for what, file, identifier, number in folder.findings
    )


EXPECTED = [
    ("empty", "spec-55835-P0_sp01-002.fits.gz", "55835-P0-1-2", 1),
    ("empty", "spec-55837-P2_sp01-001.fits.gz", "55837-P2-1-1", 1),
    ("missing", "spec-55835-P0_sp01-001.fits.gz", "55835-P0-1-1", 1),
    ("missing", "spec-55835-P0_sp01-005.fits.gz", "55835-P0-1-5", 1),
    ("missing_folder", "", "", 5),
    ("otherwise", "spec-55836-P1_sp01-001.fits.gz", "55836-P1-1-1", 1),
    ("unknown", "spec-1-P1_sp01-250.fits.gz", "", 1),
    ("unknown", "spec-2-OLD_sp01-001.fits.gz", "", 1),
]


@pytest.mark.parametrize("threads", [1, 3])
def test_every_kind_of_finding_is_reported_and_nothing_else(tree, threads):
    root, rows = tree
    folders = check(root, threads=threads)
    assert findings(folders) == EXPECTED
    assert [folder.folder for folder in folders] == sorted(folder.folder for folder in folders)
    assert sum(folder.n_catalogue for folder in folders) == len(rows)
    assert sum(folder.n_wanted for folder in folders) == 16
    assert sum(folder.n_found for folder in folders) == 10
    # All but the galaxies: two of plate 0, one of plate 1, one of plate 2, four of plate 3.
    assert [folder.n_missing_wanted for folder in folders] == [2, 1, 1, 4, 0]


def test_without_sizes_empty_files_count_as_there(tree):
    folders = check(tree[0], sizes=False)
    assert findings(folders) == [finding for finding in EXPECTED if finding[0] != "empty"]


def test_each_folder_is_listed_and_no_file_is_asked_for_one_by_one(tree, monkeypatch):
    """Without sizes: as many listings as there are folders, twice (the walk and the comparison), and no stat."""
    root, _ = tree
    listed, real = [], tree_check.os.scandir
    monkeypatch.setattr(
        tree_check.os, "scandir", lambda path: listed.append(str(path)) or real(path)
    )
    monkeypatch.setattr(tree_check, "_size", lambda entry: pytest.fail("a file was asked for"))
    check(root, sizes=False)
    plates = [path for path in listed if Path(path).parent.parent == root]
    assert (
        len(plates) == len(set(plates)) * 2 - 1
    )  # the plate without a folder is only looked for once


def test_the_catalogue_itself_is_not_an_unknown_file(tree):
    root, rows = tree
    Table(rows=rows).write(root / "c.fits")
    (root / "c.csv").unlink()
    assert findings(check(root, ["c.fits"])) == EXPECTED


def test_paths_in_the_catalogue_and_repeated_rows_are_followed(tmp_path):
    root = tmp_path / "files"
    (root / "flat").mkdir(parents=True)
    rows = [row | {"path": f"flat/{row['obsid']}.fits"} for row in release_rows(4)]
    pd.DataFrame([*rows, rows[0]]).to_csv(root / "c.csv", sep="|", index=False)
    for row in rows[1:]:
        (root / row["path"]).write_bytes(b"x")
    (folder,) = check(root)
    assert folder.findings == [("missing", "1.fits", "55835-P0-1-1", 1)]
    assert (folder.n_catalogue, folder.n_found, folder.n_missing_wanted) == (5, 3, 1)


def test_blocks_of_the_catalogue_do_not_change_what_is_expected(tree, monkeypatch):
    whole = check(tree[0])
    monkeypatch.setattr(tree_check, "_BLOCK", 3)
    assert check(tree[0]) == whole


@pytest.mark.slow
def test_check_release_writes_tables_and_a_summary(small_release):
    rows = release_rows(12)
    for row in rows[:-3]:
        place(small_release / "lamost", row).parent.mkdir(parents=True, exist_ok=True)
        place(small_release / "lamost", row).write_bytes(b"x")
    said = snakemake(small_release, "--cores", "1", "check_release")
    assert "9 of 12 spectra of the catalogue are there" in said
    folder = small_release / "results/release"
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["catalogue"], summary["found"], summary["missing"]) == (12, 9, 1)
    assert summary["missing_folder"] == 2
    plates = pd.read_csv(folder / "plates.csv")
    assert plates["n_catalogue"].sum() == 12
    assert plates["n_missing_wanted"].tolist() == [0, 0, 2]
    found = pd.read_csv(folder / "findings.csv", keep_default_na=False)
    assert found["what"].tolist() == ["missing", "missing_folder"]
    for row in rows[-3:]:
        place(small_release / "lamost", row).parent.mkdir(parents=True, exist_ok=True)
        place(small_release / "lamost", row).write_bytes(b"x")
    # It is made anew each time, since nothing tells Snakemake that files came.
    assert "12 of 12 spectra" in snakemake(small_release, "--cores", "1", "check_release")

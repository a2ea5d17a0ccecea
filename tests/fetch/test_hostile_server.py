"""Servers that lie about sizes, never end, dribble, redirect, or send what unpacks without end."""

import contextlib
import gzip
import itertools
import json
import logging
import shutil
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections import namedtuple

import pytest
from fetching import BODY, QUICK, get, left_over, ranges
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from urllib3.exceptions import InvalidHeader

from lamostvac.core.exceptions import UserError
from lamostvac.fetch import connection, content, plan, services, transfer
from lamostvac.fetch.client import (
    Client,
    ClientSettings,
    DownloadError,
    TemporaryError,
    _retry_after,
    said_in,
)
from lamostvac.fetch.sources import XMatchSource

LOG = logging.getLogger("test_fetch")


def head(request, status=200, reason="OK", **headers):
    """The head of an answer as it stands here, without what `http.server` would put right."""
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{k.replace('_', '-')}: {v}" for k, v in headers.items())]  # fmt: skip
    request.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
    request.close_connection = True


def until_gone(request, block, wait=0.0):
    """Send a block again and again until the client has gone or the server ends."""
    with contextlib.suppress(OSError):
        for _ in range(100_000):
            request.wfile.write(block)
            request.wfile.flush()
            time.sleep(wait)


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    "length", ["²", "-5", "1e3", "0x10", "+5", "1_0", "", " ", "9" * 5001, "5, 7", "a" * 1000]
)
def test_a_size_that_is_none_is_one_sentence(server, client, tmp_path, length):
    def behave(request):
        head(request, Content_Length=length)
        request.wfile.write(BODY)

    with pytest.raises(DownloadError) as caught:
        get(client, server, tmp_path / "a.fits", behave)
    assert server.url("/f") in str(caught.value)
    assert "the server gives the size" in str(caught.value)
    assert len(server.seen) == 1
    assert len(str(caught.value)) < 500
    assert left_over(tmp_path) == []


def test_the_same_size_twice_is_that_size(server, client, tmp_path):
    def behave(request):
        head(request, Content_Length=f"{len(BODY)}, {len(BODY)}")
        request.wfile.write(BODY)

    assert get(client, server, tmp_path / "a.fits", behave) == BODY


def test_a_size_that_no_file_has_is_refused_before_a_byte_comes(server, client, tmp_path):
    def behave(request):
        head(request, Content_Length=str(10**15))
        until_gone(request, BODY)

    with pytest.raises(
        DownloadError, match=r"has 1000000\.0 GB, more than fetch.largest_file = 50"
    ):
        get(client, server, tmp_path / "a.fits", behave)
    assert left_over(tmp_path) == []


@settings(deadline=None, max_examples=100)
@given(st.lists(st.text(st.characters(codec="latin-1"), max_size=30), max_size=3))
def test_any_size_gives_a_number_or_a_sentence(lengths):
    with contextlib.suppress(InvalidHeader):
        size = connection.announced_size(lengths)
        assert size is None if not lengths else 0 <= size < 10**18


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=40) | st.from_regex(r"[0-9]{1,5000}") | st.datetimes().map(str))
def test_any_wish_for_a_later_try_gives_a_time_or_none(text):
    raw = namedtuple("Raw", "headers")({"Retry-After": text})
    wait = _retry_after(namedtuple("Answer", "raw")(raw))
    assert wait is None or wait >= 0


# ---------------------------------------------------------------- without end


@pytest.fixture
def disk(monkeypatch):
    """A disk on which a download may write 40 MB; its folder is what counts."""

    def usage(folder):
        used = sum(path.stat().st_size for path in folder.iterdir())
        return namedtuple("usage", "total used free")(0, 0, transfer.FREE_BYTES + 40_000_000 - used)

    monkeypatch.setattr(shutil, "disk_usage", usage)


def test_a_stream_without_end_leaves_room_on_the_disk(server, client, tmp_path, disk):
    def behave(request):
        head(request)
        until_gone(request, BODY)

    with pytest.raises(DownloadError, match=r"does not say how large it is, .* stay free"):
        get(client, server, tmp_path / "a.fits", behave)
    assert left_over(tmp_path) == []


def test_a_disk_that_others_fill_meanwhile_ends_a_transfer_that_can_go_on(
    server, client, tmp_path, monkeypatch
):
    free = itertools.chain([1 << 40], itertools.repeat(transfer.FREE_BYTES))
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(next(free)))
    body = BODY * 60
    with pytest.raises(DownloadError, match=r"GB more and .* make room"):
        get(client, server, tmp_path / "a.fits", lambda request: request.file(body))
    assert left_over(tmp_path) == ["a.fits.part", "a.fits.part.json"]


@pytest.mark.parametrize("known", [False, True])
def test_a_stream_without_end_is_given_up_at_the_largest_size(server, tmp_path, known):
    client = Client(QUICK.changed(largest_file=0.002), LOG)

    def behave(request):
        head(request)
        until_gone(request, BODY)

    most = len(BODY) if known else 2_000_000
    with pytest.raises(DownloadError, match=f"brings more than {most} bytes"):
        get(client, server, tmp_path / "a.fits", behave, size=len(BODY) if known else None)
    assert left_over(tmp_path) == []


def source(server):
    return XMatchSource(
        name="s", title="", place="networks.root", file="s.csv", service="xmatch",
        url=server.url("/sync"), table="t", radius=5, columns={"ra": "ra", "dec": "dec"},
    )  # fmt: skip


def test_a_service_that_never_ends_is_given_up_at_the_largest_answer(server):
    client = Client(QUICK.changed(largest_answer=1.0), LOG)

    def behave(request):
        head(request)
        until_gone(request, b"1,2\n" * 10_000)

    server.paths["/sync"] = behave
    with pytest.raises(
        DownloadError, match=r"more than fetch\.largest_answer = 1 MB; .* smaller fetch\.piece_rows"
    ):
        client.post("s", server.url("/sync"))
    assert len(server.seen) == 1


PROGRAM = """
import logging, resource, sys
from lamostvac.fetch.client import Client, ClientSettings, DownloadError
client = Client(ClientSettings(pause=0, tries=1, largest_answer=32), logging.getLogger())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    client.post("s", sys.argv[1])
except DownloadError as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("status", [200, 400])
def test_an_answer_that_unpacks_without_end_needs_no_memory(server, project, status):
    """A megabyte of a gigabyte of zeros."""
    packer = zlib.compressobj(9, wbits=31)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(1 << 10)) + packer.flush()
    server.paths["/sync"] = lambda r: r.reply(status, packed, Content_Encoding="gzip")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, server.url("/sync")],
        cwd=project, capture_output=True, text=True, check=True,
    )  # fmt: skip
    said, grown = done.stdout.strip().splitlines()
    assert ("fetch.largest_answer" in said) == (status == 200)
    assert int(grown) < 150_000  # kB; 32 MB are allowed


def test_a_compressed_file_that_unpacks_without_end_is_refused(
    server, client, tmp_path, monkeypatch
):
    monkeypatch.setattr(content, "UNPACKED_BYTES", 1 << 22)
    packed = gzip.compress(b"SIMPLE  =" + bytes(1 << 25), 9)

    def behave(request):
        head(request)
        request.wfile.write(packed)

    with pytest.raises(DownloadError, match="unpacks to more than 100 times its size"):
        get(client, server, tmp_path / "a", behave, content="fits.gz")
    assert left_over(tmp_path) == []


# ---------------------------------------------------------------- one byte now and then


def dribble_body(request):
    head(request, Content_Length=len(BODY), ETag='"one"')
    until_gone(request, b"S", 0.05)


def dribble_head(request):
    request.wfile.write(b"HTTP/1.1 200 OK\r\n")
    until_gone(request, b"X", 0.05)


def wait_for_ever(request):
    until_gone(request, b"HTTP/1.1 100 Continue\r\n\r\n", 0.05)


def trail(request):
    head(request, Transfer_Encoding="chunked")
    request.wfile.write(b"9\r\nSIMPLE  =\r\n0\r\n")
    until_gone(request, b"A: b\r\n", 0.01)


def dribble_page(request):
    head(request, 500, "Busy")
    until_gone(request, b"x", 0.05)


def dribble_chunks(request):
    head(request, Transfer_Encoding="chunked")
    until_gone(request, b"1\r\nS\r\n", 0.05)


@pytest.mark.parametrize(
    "behave", [dribble_body, dribble_head, wait_for_ever, trail, dribble_page, dribble_chunks]
)
def test_a_server_that_sends_a_byte_now_and_then_is_given_up(server, tmp_path, behave):
    """Each byte comes long before `stall`; without a limit these would take hours."""
    client = Client(QUICK.changed(stall=0.4, least_rate=1e6, tries=2), LOG)
    with pytest.raises(DownloadError, match="given up after 2 tries"):
        get(client, server, tmp_path / "a.fits", behave)
    assert len(server.seen) == 2


def test_a_slow_server_that_keeps_the_least_rate_is_waited_for(server, tmp_path):
    client = Client(QUICK.changed(stall=3.0, least_rate=1.0), LOG)

    def behave(request):
        head(request, Content_Length=len(BODY))
        for start in range(0, len(BODY), len(BODY) // 10):
            request.wfile.write(BODY[start : start + len(BODY) // 10])
            time.sleep(0.05)

    assert get(client, server, tmp_path / "a.fits", behave) == BODY


def test_the_end_that_the_guard_makes_is_not_the_end_of_the_answer():
    """Without a length the closed connection looks like a whole answer."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        guard = connection.Guard(0.05, 1000)
        with guard:
            guard.follow(ours)
            guard.answered()
            assert ours.recv(10) == b""
        assert "only 0 bytes came" in guard.reason


def test_no_thread_stays_when_requests_have_ended(server, client, tmp_path):
    get(client, server, tmp_path / "a.fits", lambda request: request.file(BODY))
    assert not any("_watch" in thread.name for thread in threading.enumerate())


# ---------------------------------------------------------------- redirects


def test_a_redirect_from_https_to_http_is_refused():
    assert connection._target("https://a.example/x", "/y") == "https://a.example/y"
    assert connection._target("http://a.example/x", "https://b.example/") == "https://b.example/"
    assert connection._target("http://a.example/x", "//b.example/") == "http://b.example/"
    for location, sentence in (
        ("http://a.example/x", "from https to http://a.example/x, where anybody could change it"),
        ("HTTP://a.example/x", "from https to HTTP://a.example/x"),
        ("file:///etc/passwd", "neither http nor https"),
        ("ftp://a.example/x", "neither http nor https"),
        ("javascript:1", "neither http nor https"),
        ("http://[", "redirects to no address"),
    ):
        with pytest.raises(connection.RedirectRefused, match=sentence.replace("[", r"\[")):
            connection._target("https://a.example/x", location)


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=40) | st.builds("{}://{}".format, st.text(max_size=6), st.text(max_size=9)))
def test_no_redirect_leads_out_of_https(location):
    with contextlib.suppress(connection.RedirectRefused):
        assert connection._target("https://a.example/x", location).lower().startswith("https:")


def test_a_chain_of_redirects_ends(server, client, tmp_path):
    for number in range(30):
        server.paths[f"/{number}"] = lambda request, number=number: request.reply(
            301, b"", Location=f"/{number + 1}"
        )
    with pytest.raises(DownloadError, match="more than 10 redirects"):
        get(client, server, tmp_path / "a", lambda request: request.reply(307, b"", Location="/0"))
    assert len(server.seen) == 11


def test_the_page_of_a_redirect_is_not_read(server, client, tmp_path):
    """It has no end."""
    server.paths["/other"] = lambda request: request.file(BODY)

    def behave(request):
        head(request, 302, Location="/other")
        until_gone(request, bytes(1 << 16))

    assert get(client, server, tmp_path / "a.fits", behave) == BODY


@pytest.mark.parametrize("location", ["http://[", "ftp://a/b", "file:///etc/passwd", "\xff\xfe"])
def test_a_redirect_to_nowhere_is_one_sentence(server, client, tmp_path, location):
    with pytest.raises(DownloadError) as caught:
        get(client, server, tmp_path / "a", lambda r: r.reply(302, b"", Location=location))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("status", "method"), [(303, "GET"), (302, "GET"), (307, "POST")])
def test_the_result_of_a_service_may_be_elsewhere(server, client, status, method):
    server.paths["/sync"] = lambda request: request.reply(status, b"", Location="/result")
    server.paths["/result"] = lambda request: request.reply(200, b"ra,dec\n")
    assert client.post("s", server.url("/sync"), data={"a": "b"}) == b"ra,dec\n"
    assert [seen[0] for seen in server.seen] == ["POST", method]
    assert server.bodies[1] == (b"a=b" if method == "POST" else b"")


def test_a_service_that_has_moved_is_named_with_its_new_address(server, client):
    server.paths["/sync"] = lambda request: request.reply(301, b"", Location="/new")
    with pytest.raises(DownloadError, match=r"the service has moved to http://.*/new"):
        client.post("s", server.url("/sync"), data={"a": "b"})


# ---------------------------------------------------------------- parts of other files


@pytest.mark.parametrize(
    "now",
    [
        {"ETag": '"two"'},
        {"ETag": 'W/"one"'},
        {},
        {"ETag": '"one"', "Last_Modified": "Thu, 02 Jan 2020 00:00:00 GMT"},
    ],
)
def test_the_rest_of_another_file_is_not_joined(server, client, tmp_path, now):
    """The server does not know `If-Range` and sends the rest of what the file is now."""
    other = BODY[:2880] + BODY[2880:][::-1]
    first = {"ETag": '"one"', "Last_Modified": "Wed, 01 Jan 2020 00:00:00 GMT"}

    def behave(request):
        wanted = request.headers.get("Range")
        if request.number == 1:
            head(request, Content_Length=len(BODY), **first)
            request.wfile.write(BODY[:300_000])
        elif wanted:
            start = int(wanted[6:-1])
            place = f"bytes {start}-{len(BODY) - 1}/{len(BODY)}"
            head(request, 206, Content_Range=place, Content_Length=len(BODY) - start, **now)
            request.wfile.write(other[start:])
        else:
            request.reply(200, other)

    assert get(client, server, tmp_path / "a.fits", behave) == other
    assert ranges(server)[1] is not None
    assert ranges(server)[2] is None


def test_a_date_alone_lets_a_transfer_go_on(server, client, tmp_path):
    date = "Wed, 01 Jan 2020 00:00:00 GMT"

    def behave(request):
        wanted = request.headers.get("Range")
        if wanted is None:
            head(request, Content_Length=len(BODY), Last_Modified=date)
            request.wfile.write(BODY[:300_000])
            return
        assert request.headers["If-Range"] == date
        start = int(wanted[6:-1])
        place = f"bytes {start}-{len(BODY) - 1}/{len(BODY)}"
        head(request, 206, Content_Range=place, Content_Length=len(BODY) - start)
        request.wfile.write(BODY[start:])

    assert get(client, server, tmp_path / "a.fits", behave) == BODY
    assert len(server.seen) == 2


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5) | st.floats(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    ).map(json.dumps)
    | st.text(max_size=20)
    | st.fixed_dictionaries(
        {
            "url": st.just("u"),
            "validator": st.integers() | st.just("v"),
            "size": st.text() | st.none(),
        }
    ).map(json.dumps)
)
def test_any_notes_beside_a_part_are_read_or_passed_over(tmp_path, text):
    (tmp_path / "n").write_text(text, encoding="utf-8")
    known = transfer._read_notes(tmp_path / "n", "u")
    assert known == {} or isinstance(known["validator"], str)


# ---------------------------------------------------------------- answers that break off

HEADER = "ra,dec,name\n"
WHOLE = HEADER + '1,2,"a, b"\n3,4,"c ""d"""\n'


@pytest.mark.parametrize(
    "length", [n for n in range(len(HEADER) + 1, len(WHOLE)) if not WHOLE[:n].endswith("\n")]
)
def test_an_answer_cut_at_any_byte_inside_a_row_is_not_accepted(server, length):
    wanted = source(server).model_copy(update={"columns": {"ra": "ra", "dec": "dec", "n": "name"}})
    with pytest.raises(TemporaryError, match=r"breaks off|of the answer"):
        services.rows_of(WHOLE[:length].encode(), wanted)


def test_a_whole_answer_is_accepted(server):
    wanted = source(server).model_copy(update={"columns": {"ra": "ra", "dec": "dec", "n": "name"}})
    for end in ("\n", "\r\n"):
        rows = services.rows_of(WHOLE.replace("\n", end).encode(), wanted)
        assert rows == [["1", "2", "a, b"], ["3", "4", 'c "d"']]


@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
@given(body=st.binary(max_size=200) | st.text(',"\n\r\t \0a1;', max_size=80).map(str.encode))
def test_any_answer_gives_rows_or_a_sentence(server, body):
    with contextlib.suppress(DownloadError, TemporaryError, services.CutOff):
        for row in services.rows_of(b"ra,dec\n" + body, source(server)):
            assert len(row) == 2


# ---------------------------------------------------------------- what servers say, and what lies there


def test_what_a_server_says_is_one_short_line_without_control_characters():
    assert said_in(b"<title>\x1b[31mred\x00\r\nline</title>" + b"x" * 10**6) == ": [31mred line"
    assert len(said_in(b"y" * 10**6)) <= 302


@pytest.mark.parametrize(
    "page", [b"<INFO QUERY_STATUS", b"<INFO", b"<title", b"<", b"<![CDATA[", b"<title>"]
)
def test_no_error_page_keeps_the_program_busy(page):
    """Patterns that go back for each `<` would take hours for these."""
    assert len(said_in(page * 1_000_000)) <= 302


def test_a_line_of_checksums_without_a_name_is_named(tmp_path):
    (tmp_path / plan.CHECKSUMS).write_bytes(b"ab  a.fits\n\n\xff\n")
    with pytest.raises(UserError, match=rf"{plan.CHECKSUMS}, line 3: it is a SHA-256"):
        plan.read_checksums(tmp_path)


def test_a_contact_that_no_header_can_hold_is_refused():
    for contact in ("a\nb", "Ž@example.org"):
        with pytest.raises(ValueError, match="contact"):
            ClientSettings(contact=contact)

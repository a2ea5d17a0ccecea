"""The survey's chunks as the rules ask for them."""

import os

import pytest

from lamostvac.run.chunks import Chunks
from lamostvac.run.layout import Layout

HEADER = "type,chunk,n_spectra,n_plates,first_plate,last_plate,digest,carried\n"


@pytest.fixture
def layout(tmp_path):
    return Layout(str(tmp_path))


def write(layout, *rows, time=None):
    os.makedirs(os.path.dirname(layout.manifest), exist_ok=True)
    with open(layout.manifest, "w") as handle:
        handle.write(HEADER + "".join(f"{row},of {row[-1]}\n" for row in rows))
    if time is not None:
        os.utime(layout.manifest, (time, time))


def test_before_the_survey_a_full_chunk_stands_for_any_job_and_there_are_none(layout):
    chunks = Chunks(layout, 5000, ["G", "M"])
    assert chunks.spectra() == chunks.spectra("M") == chunks.spectra("M", "0000") == 5000
    assert chunks.digests("M") == {}
    assert chunks.files() == []


def test_sizes_are_those_of_the_chunk_the_type_and_the_run(layout):
    write(layout, "G,0000,30,1,P,P,a", "G,0001,20,1,P,P,b", "M,0000,7,1,P,P,c")
    chunks = Chunks(layout, 5000, ["G", "M", "OB"])
    assert chunks.spectra("G", "0001") == 20
    assert chunks.spectra("G") == 50
    assert chunks.spectra() == 57
    assert chunks.spectra("OB") == 0


def test_chunks_come_in_the_manifests_order_with_their_digests(layout):
    write(layout, "M,0000,7,1,P,P,c", "G,0000,30,1,P,P,a", "G,000012,20,1,P,P,b")
    chunks = Chunks(layout, 5000, ["G", "M"])
    assert list(chunks.digests("G").items()) == [("0000", "a"), ("000012", "b")]
    assert chunks.files() == [
        layout.chunk.format(type=name, chunk=chunk)
        for name, chunk in (("G", "0000"), ("G", "000012"), ("M", "0000"))
    ]


def test_a_new_manifest_is_read_again(layout):
    write(layout, "M,0000,7,1,P,P,c", time=1e9)
    chunks = Chunks(layout, 5000, ["M"])
    assert chunks.spectra("M") == 7
    write(layout, "M,0000,9,1,P,P,d", time=2e9)
    assert chunks.spectra("M") == 9
    assert chunks.digests("M") == {"0000": "d"}


def test_carried_columns_have_digests_of_their_own(layout):
    assert Chunks(layout, 5000, ["M"]).carried("M") == []
    write(layout, "M,0000,7,1,P,P,c", "G,0000,30,1,P,P,a", "G,000012,20,1,P,P,b")
    chunks = Chunks(layout, 5000, ["G", "M", "OB"])
    assert chunks.carried("G") == ["of a", "of b"]
    assert chunks.carried("OB") == []

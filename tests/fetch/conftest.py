"""A server that does as it is told, and a client without patience."""

import logging

import pytest
from bad_server import serving
from fetching import QUICK

from lamostvac.fetch.client import Client


@pytest.fixture
def server(monkeypatch):
    """A server, and no way to any other."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with serving() as running:
        yield running


@pytest.fixture
def client():
    return Client(QUICK, logging.getLogger("test_fetch"))

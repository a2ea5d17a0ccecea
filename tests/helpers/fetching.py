"""Downloads from a server that misbehaves (`bad_server`)."""

import io

import numpy as np
from astropy.io import fits

from lamostvac.fetch.client import ClientSettings
from lamostvac.fetch.transfer import download

FITS = io.BytesIO()
fits.HDUList(
    [fits.PrimaryHDU(), fits.ImageHDU(np.random.default_rng(1).integers(0, 1 << 30, 100_000))]
).writeto(FITS)
BODY = FITS.getvalue()
QUICK = ClientSettings(pause=0.0, stall=5.0, tries=4, first_wait=0.01, longest_wait=0.05)


def get(client, server, target, behave, **arguments):
    """The bytes of the file that the server gives so."""
    server.paths["/f"] = behave
    download(client, server.url("/f"), target, **{"content": "fits", **arguments})
    return target.read_bytes()


def ranges(server):
    """What parts of a file were asked for, None for the whole."""
    return [headers.get("Range") for _, _, headers in server.seen]


def left_over(folder):
    return sorted(path.name for path in folder.iterdir())


def chunked(request, body):
    """A whole answer without a size."""
    request.send_response(200)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    request.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))

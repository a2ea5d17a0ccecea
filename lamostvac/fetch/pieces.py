"""A sky match in pieces that can be fetched one by one and joined."""

import csv
import hashlib
import itertools
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lamostvac.core.atomic import atomic
from lamostvac.core.progress import Progress
from lamostvac.fetch.client import Client, DownloadError
from lamostvac.fetch.services import MARGIN, _number, ask, declination, sort_rows
from lamostvac.fetch.sources import MatchSource


@dataclass(frozen=True)
class Piece:
    """Some stars (n, 2) and the file of the answer; its name depends on the request."""

    stars: npt.NDArray[np.float64]
    path: Path


def pieces_of(
    source: MatchSource, stars: npt.NDArray[np.float64], size: int, target: str | Path
) -> list[Piece]:
    """The stars, `size` at a time, with a file each in the folder `TARGET.pieces`."""
    folder = Path(f"{target}.pieces")
    question = source.model_dump_json(exclude={"title", "name", "place", "file"}).encode()
    found = []
    for number, start in enumerate(range(0, len(stars), size)):
        part = stars[start : start + size]
        key = hashlib.sha256(question + part.tobytes()).hexdigest()[:12]
        found.append(Piece(part, folder / f"{number:05d}-{key}.csv"))
    return found


def write_piece(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Rows as CSV without a header."""
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle, lineterminator="\n").writerows(rows)


def read_piece(path: Path) -> list[list[str]]:
    """The rows that `write_piece` wrote."""
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.reader(handle))


def fetch_pieces(client: Client, source: MatchSource, pieces: Sequence[Piece]) -> int:
    """Request the pieces whose answers do not exist yet; returns their number.

    As many run in parallel as the client allows for one host. When one fails no further one is
    begun; answers that have arrived are kept.
    """
    missing = [piece for piece in pieces if not piece.path.exists()]
    if len(missing) < len(pieces):
        client.log.info(
            "%s: %d of %d pieces are there", source.name, len(pieces) - len(missing), len(pieces)
        )
    progress = Progress(client.log, total=len(missing), unit=f"pieces of {source.name}")

    def one(piece: Piece) -> None:
        write_piece(piece.path, ask(client, source, piece.stars))

    with ThreadPoolExecutor(client.settings.connections) as pool:
        futures = [pool.submit(one, piece) for piece in missing]
        try:
            for future in futures:
                future.result()
                progress.add()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    if missing:
        progress.done()
    return len(missing)


def join_pieces(source: MatchSource, pieces: Sequence[Piece], target: Path) -> int:
    """Join the answers under one header; returns the number of rows.

    Equal rows are written once. Memory holds only the pieces and the rows near the border of two of
    them.

    Raises
    ------
    DownloadError
        No star has a counterpart, which is impossible for the catalogues here.
    """
    number = 0
    with atomic(target) as temporary, temporary.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, delimiter=source.separator, lineterminator="\n")
        writer.writerow(list(source.columns))
        for row in merged(source, pieces):
            writer.writerow(row)
            number += 1
        if not number:
            raise DownloadError(
                f"{source.url} has no counterpart of any star for {source.name}; check the source's table or query "
                "in the file of fetch.file"
            )
    for piece in pieces:
        piece.path.unlink(missing_ok=True)
    folder = pieces[0].path.parent
    # Answers to earlier requests are removed with the folder.
    for path in folder.iterdir():
        path.unlink()
    os.rmdir(folder)
    return number


def merged(source: MatchSource, pieces: Sequence[Piece]) -> Iterator[list[str]]:
    """The rows of all pieces once each, by declination, then by their texts."""
    place = declination(source)
    waiting: list[list[str]] = []
    for index, piece in enumerate(pieces):
        waiting = sort_rows(itertools.chain(waiting, read_piece(piece.path)), source)
        if index + 1 < len(pieces):
            # Later pieces have no row below this.
            limit = pieces[index + 1].stars[0, 1] - MARGIN
            ready = sum(_number(row[place]) < limit for row in waiting)
            yield from waiting[:ready]
            waiting = waiting[ready:]
        else:
            yield from waiting

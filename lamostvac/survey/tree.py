"""The files below a folder with names like those of spectra."""

import functools
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from lamostvac.core.exceptions import UserError
from lamostvac.spectra import archive

SUFFIXES = (".fits", ".fits.gz")
"""Names that are taken for spectra; other files are only counted here."""
TAKEN = (*SUFFIXES, *archive.SUFFIXES)
"""Names of spectra and of archives of them."""
Seen = TypeVar("Seen")
_Listed = tuple[str, tuple[int, int], list[Any], list[str], list[str], str]


def ending(name: str) -> str:
    """What a file's name ends in: `.txt`, or all behind `.fit`, as in `.fits.bz2`; "" for nothing."""
    name = os.path.basename(name).lower()
    start = name.rfind(".fit")
    return name[start:] if start > 0 else os.path.splitext(name)[1]


def folders_below(
    root: str,
    look: Callable[[os.DirEntry[str]], Seen],
    skip: str | os.PathLike[str] | None = None,
    apply: Callable[..., Iterable[_Listed]] = map,
    others: Counter[str] | None = None,
) -> Iterator[tuple[str, list[Seen], str]]:
    """Each folder at and below `root`, once however many links lead to it.

    Neither files nor folders whose names begin with a dot are seen.

    Parameters
    ----------
    look : is given each file with a name like those of spectra or archives
    skip : a folder that is left out, with what is below it
    apply : as `map`; that of an executor lists several folders at a time
    others : gets the number of files with each other ending (`ending`)

    Returns
    -------
    For each folder its path, what `look` says of its files, and why it could not be listed
    """
    visited: set[tuple[int, int]] = set()
    if skip is not None and os.path.isdir(skip):
        visited.add(_device_and_inode(skip))
    level = [root]
    while level:
        following: list[str] = []
        for folder, key, seen, folders, passed, problem in apply(
            functools.partial(_list, look), level
        ):
            if problem:
                yield folder, [], problem
            elif key not in visited:
                visited.add(key)
                following += folders
                if others is not None:
                    others.update(passed)
                yield folder, seen, ""
        level = following


def _list(look: Callable[[os.DirEntry[str]], Any], folder: str) -> _Listed:
    seen, folders, passed = [], [], []
    try:
        key = _device_and_inode(folder)
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    folders.append(entry.path)
                elif entry.name.lower().endswith(TAKEN):
                    seen.append(look(entry))
                else:
                    passed.append(ending(entry.name))
    except OSError as error:
        return folder, (0, 0), [], [], [], str(error.strerror)
    return folder, key, seen, sorted(folders), passed, ""


def _device_and_inode(folder: str | os.PathLike[str]) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


@functools.cache
def tree_state(root: str, skip: str) -> tuple[str, int]:
    """A digest of the names of all spectra in and below `root`, but not in `skip`, and their number.

    An archive counts as one.

    No file is looked at, so that a release takes seconds; found once in a process.

    Raises
    ------
    UserError
        There is none.
    """
    found = folders_below(root, lambda entry: os.path.relpath(entry.path, root), skip)
    names = sorted(name for _, seen, _ in found for name in seen)
    if not names:
        raise UserError(
            f"survey.catalogues is headers, but no file in or below {root} (survey.root) has a name like *.fits, "
            "*.fits.gz, *.tar or *.tar.gz; name the folder of the spectra"
        )
    text = "\n".join(names).encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).hexdigest()[:16], len(names)

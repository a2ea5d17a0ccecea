"""Files and folders that appear whole or not at all."""

import errno
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lamostvac.core.exceptions import UserError

PREFIX = ".lamostvac-"
_NAME = re.compile(r"\.lamostvac-(\d+)-[0-9a-f]{8}-(\w+)-.")


def temporary_path(target: Path) -> Path:
    """A name beside `target` that no other writer has, on this node or another.

    Process numbers alone repeat between the nodes that share a file system, and, after a restart,
    on one node. The suffixes stay, because writers choose their format by them.
    """
    return target.with_name(f"{PREFIX}{os.getpid()}-{secrets.token_hex(4)}-{_host()}-{target.name}")


def _host() -> str:
    """This node's name as it stands in temporary names, without the dashes between their parts."""
    return re.sub(r"\W", "_", socket.gethostname())


def no_space(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, says that a disk or a quota is full.

    Python has a number for it; HDF5 has it in the text, and when a file is closed as a
    `RuntimeError`; astropy has words of its own.
    """
    while error is not None:
        text = str(error)
        numbers = (errno.ENOSPC, errno.EDQUOT)
        if isinstance(error, OSError) and error.errno in numbers:
            return True
        if any(f"errno = {number}," in text or os.strerror(number) in text for number in numbers):
            return True
        if text.startswith("Not enough space on disk"):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def _full_disk_is_told(target: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError) or not no_space(error):
            raise
        raise UserError(
            f"no space left on the file system of {target.parent} while writing {target}; make room and give the "
            "same command again, which goes on from what is finished"
        ) from None


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary name beside `path`; on success rename it to `path`, on failure remove it.

    Of two writers of one path the last one's file stays, and is whole. Raises `UserError` when the
    disk is full.
    """
    target = Path(path)
    with _full_disk_is_told(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_path(target)
        try:
            yield temporary
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Like `atomic` for a folder: yield a new empty one, which takes the place of `path` when
    complete.
    """
    target = Path(path)
    with _full_disk_is_told(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_path(target)
        temporary.mkdir()
        try:
            yield temporary
            _replace_folder(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _replace_folder(new: Path, target: Path) -> None:
    """Rename `new` to `target`, also while another process does the same."""
    while True:
        try:
            os.replace(new, target)  # works where there is nothing, or an empty folder
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        old = temporary_path(target)
        try:
            os.replace(target, old)
        except FileNotFoundError:  # the other one was quicker
            continue
        shutil.rmtree(old)


def remove_temporaries(folder: str | os.PathLike[str]) -> list[Path]:
    """Remove what killed jobs left of unfinished files and folders below `folder`; return their
    paths.

    Only names that `temporary_path` makes count: the folder may be shared, and others' files are
    not ours. To be called when no other run writes there. Those of a process that lives on this
    node stay; a job that a killed run left behind on another node fails when its file is gone, and
    cannot spoil a file of the new run.
    """
    host = _host()
    removed = []
    for parent, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            found = _NAME.match(name)
            if not found or (found[2] == host and _lives(int(found[1]))):
                continue
            path = Path(parent, name)
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
            removed.append(path)
        folders[:] = [name for name in folders if not _NAME.match(name)]
    return sorted(removed)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

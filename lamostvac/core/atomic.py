"""Atomic writing: files and folders appear under their name only when complete."""

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
    """A name in the folder of `target` that no other writer uses, on this node or another.

    Process numbers alone are not unique among nodes that share a file system, nor on one node after
    a restart. The suffixes are kept, because writers choose their format by them.
    """
    return target.with_name(f"{PREFIX}{os.getpid()}-{secrets.token_hex(4)}-{_host()}-{target.name}")


def _host() -> str:
    """This node's name for temporary names, without dashes, which separate their parts."""
    return re.sub(r"\W", "_", socket.gethostname())


def no_space(error: BaseException | None) -> bool:
    """Whether an error, or its cause, means that a disk or a quota is full.

    Python has an error number for it; HDF5 says it in the message, in a `RuntimeError` when a file
    is closed; astropy has its own message.
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

    Of two writers of one path the last one's file remains, and is complete. Raises `UserError` when
    the disk is full.
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
    """Like `atomic` for a folder: yield a new empty one, which replaces `path` when complete."""
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
            os.replace(new, target)  # works if the target is absent or an empty folder
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        old = temporary_path(target)
        try:
            os.replace(target, old)
        except FileNotFoundError:  # the other process was faster
            continue
        shutil.rmtree(old)


def remove_temporaries(folder: str | os.PathLike[str]) -> list[Path]:
    """Remove unfinished files and folders of killed jobs below `folder`; return their paths.

    Only names as by `temporary_path` are removed, because the folder may be shared. To be called
    when no other run writes there. Files of a process that is alive on this node are kept. A job
    that a killed run left running on another node fails when its file is gone, and cannot damage a
    file of the new run.
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

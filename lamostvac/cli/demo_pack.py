"""The pack of the simulated survey, made into the user's cache where a command asks for it."""

import hashlib
import json
import os
import subprocess
import tempfile
from pathlib import Path

import click

from lamostvac.core.code_version import LIBRARY, package_version
from lamostvac.core.exceptions import UserError
from lamostvac.core.files import sha256
from lamostvac.core.paths import PROJECT
from lamostvac.networks.settings import PACK_SUFFIX

CONFIGURATION = PROJECT / "config" / "demo.yaml"


def demo_pack() -> Path:
    """The demo's pack by this version of the program: from the cache, where there is one.

    It is `demo-....lvpack` in `$XDG_CACHE_HOME/lamostvac`, by default `~/.cache/lamostvac`. The run
    that makes it takes minutes, and nothing else of it is kept.

    Raises
    ------
    UserError
        The run failed; the sentence names its log.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lamostvac"
    pack = cache / f"demo-{_digest()}{PACK_SUFFIX}"
    if pack.is_file():
        return pack
    click.echo(
        f"the simulated survey is made, its stars are labelled and their models packed as {pack}: some "
        "minutes, once",
        err=True,
    )
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="lamostvac-demo-", dir=cache) as folder:
        log = Path(folder) / "demo.log"
        with open(log, "wb") as stream:
            made = make_pack(CONFIGURATION, Path(folder), stdout=stream, stderr=stream)
        if not isinstance(made, Path):
            kept = log.rename(cache / log.name)
            raise UserError(f"the run of the simulated survey failed; {kept} has what it said")
        made.rename(pack)
    return pack


def _digest() -> str:
    """Twelve characters that are others where the demo's models may be."""
    names = sorted(path.parent.name for path in LIBRARY.glob("*/__init__.py"))
    versions = {name: package_version(name) for name in names}
    text = json.dumps([versions, sha256(CONFIGURATION)])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def make_pack(
    configuration: Path, folder: Path, words: tuple[str, ...] = (), **streams: object
) -> Path | int:
    """Make the pack of a run, and what of the run it needs, and return its path, or an exit code.

    Parameters
    ----------
    configuration, folder : of the run
    words : options of Snakemake
    streams : of `subprocess.run`
    """
    from lamostvac.run.layout import Layout
    from lamostvac.run.start import results_folder, snakemake_start

    made = Layout(results_folder(configuration)).pack
    command, environment = snakemake_start(configuration, folder, (made, *words), stages=True)
    ended = subprocess.run(command, env=environment, **streams)  # type: ignore[call-overload]
    return folder / made if ended.returncode == 0 else int(ended.returncode)

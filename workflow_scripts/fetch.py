"""Look at the public files that the run reads, bring those that are missing, and say what is still to bring."""

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table

from lamostvac.core.atomic import atomic
from lamostvac.core.exceptions import UserError
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.fetch import plan
from lamostvac.fetch.client import Client, ClientSettings
from lamostvac.fetch.services import star_list
from lamostvac.fetch.settings import Fetch
from lamostvac.survey.release import Folder, read_release


def read_stars(params: Any, log: logging.Logger, path: Path) -> np.ndarray:
    """The positions of the release's stars, which are also written for whoever asks the archives by hand."""
    folder = Folder(params.root, params.results, Path(params.headers)) if params.headers else None
    release = read_release(list(params.catalogues), params.column_aliases, folder, log)
    catalogue = release.table.select(["lamost_class", "ra", "dec"])
    stars = star_list(catalogue, params.classes)
    log.info("%d positions of stars in %d rows of the catalogue", len(stars), len(catalogue))
    if not len(stars):
        raise UserError(
            "the catalogue has no row whose class is in survey.classes, so there are no stars to ask for"
        )
    table = Table({"ra": stars[:, 0], "dec": stars[:, 1], "star": np.arange(len(stars))})
    with atomic(path) as temporary:
        table.write(temporary)
    return stars


def main(snakemake: Job) -> None:
    """Params `folder needs settings catalogues column_aliases classes`; writes into `folder`."""
    log = rule_log(snakemake)
    params, settings = snakemake.params, Fetch.model_validate(snakemake.params.settings)
    folder = Path(params.folder)
    folder.mkdir(parents=True, exist_ok=True)
    needs = plan.needs_from_params(params.needs)
    states = []
    for need in needs:
        states.append(plan.inspect(need))
        log.info("%s: %s", need.path, plan.STATES[states[-1].state])
    stars_file = folder / "stars.fits"
    stars = read_stars(params, log, stars_file) if plan.needs_stars(states) else None
    if not settings.offline:
        client = Client(ClientSettings.of(settings), log)
        try:
            states = plan.fetch_all(states, client, stars, settings.piece_rows)
        except (KeyboardInterrupt, SystemExit):
            log.error("stopped; what has come so far stays, and the next start goes on with it")
            # The interpreter would wait for threads that wait for an archive.
            os._exit(130)
    plan.write_report(states, folder / "files.csv")
    text = plan.what_to_bring(states, str(stars_file))
    with atomic(folder / "bring.txt") as temporary:
        temporary.write_text(text, encoding="utf-8")
    if settings.offline:
        log.info("%s", text)
        return
    open_ends = plan.problems(states)
    if open_ends:
        first = open_ends[0]
        raise UserError(
            f"{len(open_ends)} of {len(states)} files are not there or not right, the first {first.need.path}: "
            f"{first.detail or plan.STATES[first.state]} ({folder / 'bring.txt'} says how to bring each)"
        )
    log.info("everything that the run needs is there; %s says what", folder / "files.csv")


if __name__ == "__main__":
    main(snakemake)

"""Match a training set's catalogue to the survey's spectra and join the further tables."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from lamostvac.core.atomic import atomic
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.progress import Progress
from lamostvac.external.joins import join_table, read_source
from lamostvac.training.accounting import Accounting
from lamostvac.training.candidates import candidates, match_survey
from lamostvac.training.measurements import combine_measurements
from lamostvac.training.schema import SURVEY_COLUMNS, TrainingSet

KEYS = ("ra", "dec", "obsid", "gaia_source_id")


def read_keys(chunks: Sequence[str]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """What the spectra of all chunks are recognised by (n,), and where each chunk begins (chunks + 1,)."""
    parts: dict[str, list[np.ndarray]] = {name: [] for name in KEYS}
    sizes = []
    for path in chunks:
        table = pq.read_table(path, columns=list(KEYS))
        sizes.append(len(table))
        for name in KEYS:
            parts[name].append(table[name].to_numpy())
    empty = {name: np.empty(0, float if name in ("ra", "dec") else np.int64) for name in KEYS}
    columns = {name: np.concatenate([empty[name], *arrays]) for name, arrays in parts.items()}
    return columns, np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64)


def read_rows(chunks: Sequence[str], starts: np.ndarray, rows: np.ndarray) -> pd.DataFrame:
    """The survey's rows with the numbers `rows` (increasing), with the columns that candidates keep."""
    columns = [name for name in SURVEY_COLUMNS if name != "spectral_type"]
    frames = []
    for number, path in enumerate(chunks):
        wanted = rows[(rows >= starts[number]) & (rows < starts[number + 1])] - starts[number]
        if len(wanted) or not number:
            frame = pq.read_table(path, columns=columns).take(wanted).to_pandas()
            frames.append(frame.assign(spectral_type=Path(path).parent.name))
    return pd.concat(frames, ignore_index=True)[list(SURVEY_COLUMNS)]


def main(snakemake: Job) -> None:
    """Inputs `chunks`, `files`; outputs `candidates`, `steps`."""
    log = rule_log(snakemake)
    params = snakemake.params
    entry = TrainingSet.model_validate(params.entry)
    assert entry.catalogue is not None
    assert entry.match is not None
    chunks = list(snakemake.input.chunks)
    accounting = Accounting(entry.name)

    survey, starts = read_keys(chunks)
    log.info("%d spectra in %d chunks", starts[-1], len(chunks))
    stars = read_source(entry.catalogue, params.root, accounting)
    if entry.combine is not None:
        stars = combine_measurements(stars, entry.combine, params.root)
        accounting.add("measurements combined", f"by {entry.combine.by}", None, len(stars))
    log.info("%d stars in %s", len(stars), entry.catalogue.file)

    progress = Progress(log, len(survey["ra"]), "spectra matched")
    star, separation = match_survey(survey, stars, entry)
    progress.add(len(survey["ra"]))
    progress.done()
    rows = np.flatnonzero(star >= 0)
    used, number = np.unique(star[rows], return_inverse=True)
    stars = stars.iloc[used].reset_index(drop=True)
    accounting.add("in common with LAMOST", f"by {entry.match.by}", len(rows), len(stars))
    kept = np.ones(len(stars), bool)
    for join in entry.join:
        other = read_source(join, params.root, None)
        stars = join_table(stars, entry.catalogue, other, join)
        found = np.asarray(stars[f"{join.name}_separation"].notna())
        log.info("%s: %d of %d stars", join.name, found.sum(), len(stars))
        if join.required:
            kept &= found
            accounting.add(
                f"in {join.name}", f"by {join.match.by}", int(kept[number].sum()), int(kept.sum())
            )
    chosen = kept[number]
    spectra = read_rows(chunks, starts, rows[chosen])
    table = candidates(spectra, stars, number[chosen], separation[rows[chosen]], entry)
    accounting.count("candidates", "", table)
    with atomic(snakemake.output.candidates) as temporary:
        table.to_parquet(temporary, index=False, compression="zstd")
    accounting.write(snakemake.output.steps)
    log.info("%d spectra of %d stars", len(table), table["star"].nunique())


if __name__ == "__main__":
    main(snakemake)

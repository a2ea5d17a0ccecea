"""What the run was made of."""

import json
from pathlib import Path

import lamostvac
from lamostvac.catalog.files import git_commit
from lamostvac.core.atomic import atomic
from lamostvac.core.hdf5 import open_hdf5, read_text
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.paths import PROJECT
from lamostvac.provenance.record import Record, as_inputs, software_versions


def library_input(path: str) -> tuple[str, str, str]:
    """Role, name and SHA-256 of the spectra that a library was made from."""
    with open_hdf5(path) as handle:
        name, digest = (read_text(handle.attrs, key) for key in ("name", "source_sha256"))
    return "library", name, digest


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    params = snakemake.params
    summary = json.loads(Path(snakemake.input.summary).read_text(encoding="utf-8"))
    files = [
        *(("release", entry["file"], entry["sha256"]) for entry in summary["inputs"]),
        *map(library_input, snakemake.input.libraries),
        *(
            (role, path, digest)
            for (role, path), digest in zip(params.files, params.digests, strict=True)
        ),
    ]
    record = Record(
        program={"version": lamostvac.__version__, "commit": git_commit(PROJECT)},
        settings=params.settings,
        packages=params.packages,
        software=software_versions(),
        inputs=as_inputs(files),
        used=params.used,
    )
    with atomic(snakemake.output.record) as temporary:
        temporary.write_text(record.text(), encoding="utf-8")
    log.info("%d inputs; used: %s", len(record.inputs), ", ".join(record.used))


if __name__ == "__main__":
    main(snakemake)

"""Merge the types into one catalogue, and check that no spectrum was lost."""

import json
from pathlib import Path
from typing import Any

import lamostvac
from lamostvac.catalog.files import input_cards, provenance, write_json
from lamostvac.catalog.merge import accounting, merge_rejections, merge_tables, require_some
from lamostvac.catalog.published import names_section
from lamostvac.catalog.registry import run_registry
from lamostvac.core.atomic import atomic
from lamostvac.core.hdf5 import open_hdf5, read_text
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.manifest import read_manifest
from lamostvac.core.paths import PROJECT


def hashes(summary: dict[str, Any], library: str) -> list[tuple[str, str]]:
    """Name and SHA-256 of the release's catalogues and of the library's spectra."""
    catalogues = [(entry["file"], entry["sha256"]) for entry in summary["inputs"]]
    with open_hdf5(library) as handle:
        return [
            *catalogues,
            (
                f"library {read_text(handle.attrs, 'name')}",
                read_text(handle.attrs, "source_sha256"),
            ),
        ]


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    inputs, outputs, params = snakemake.input, snakemake.output, snakemake.params
    registry = run_registry(params)
    summary = json.loads(Path(inputs.summary).read_text(encoding="utf-8"))
    cards = provenance(PROJECT, lamostvac.__version__, **params.provenance) | input_cards(
        hashes(summary, inputs.library)
    )
    tables = dict(zip(params.types, inputs.tables, strict=True))
    counts = merge_tables(tables, outputs.fits, outputs.parquet, registry, cards)
    rejected = merge_rejections(
        inputs.survey_rejected,
        dict(zip(params.types, inputs.rejected, strict=True)),
        outputs.rejected,
    )
    manifest = read_manifest(inputs.manifest)
    expected = (
        dict.fromkeys(params.types, 0) | manifest.groupby("type")["n_spectra"].sum().to_dict()
    )
    balance = accounting(summary["n_in"], expected, counts["accepted"], rejected)
    require_some(balance)
    balance |= {name: counts[name] for name in ("n_recommended", "layouts", "flags", "repeats")}
    write_json(outputs.accounting, balance)
    with atomic(outputs.datamodel) as temporary:
        text = registry.datamodel(counts["empty"]) + names_section(registry.names)
        temporary.write_text(text, encoding="utf-8")
    log.info("%(n_in)d spectra in = %(n_accepted)d accepted + %(n_rejected)d rejected", balance)


if __name__ == "__main__":
    main(snakemake)

"""Merge the types into one catalogue, and check that no spectrum was lost."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

import lamostvac
from lamostvac.catalog import accounting, merge_rejections, merge_tables, provenance, write_json
from lamostvac.files import atomic
from lamostvac.log import rule_log
from lamostvac.registry import load_registry, network_labels


def main(snakemake: Any) -> None:
    log = rule_log(snakemake)
    inputs, outputs, params = snakemake.input, snakemake.output, snakemake.params
    registry = load_registry(network_labels(params.network_labels))
    cards = provenance(
        Path(lamostvac.__file__).resolve().parent.parent, lamostvac.__version__, **params.provenance
    )
    tables = dict(zip(params.types, inputs.tables, strict=True))
    counts = merge_tables(tables, outputs.fits, outputs.parquet, registry, cards)
    rejected = merge_rejections(
        inputs.survey_rejected, dict(zip(params.types, inputs.rejected, strict=True)), outputs.rejected
    )
    manifest = pd.read_csv(inputs.manifest, dtype={"type": str, "chunk": str}, keep_default_na=False)
    expected = dict.fromkeys(params.types, 0) | manifest.groupby("type")["n_spectra"].sum().to_dict()
    n_in = json.loads(Path(inputs.summary).read_text(encoding="utf-8"))["n_in"]
    balance = accounting(n_in, expected, counts["accepted"], rejected)
    balance |= {"layouts": counts["layouts"], "flags": counts["flags"]}
    write_json(outputs.accounting, balance)
    with atomic(outputs.datamodel) as temporary:
        temporary.write_text(registry.datamodel(), encoding="utf-8")
    log.info("%(n_in)d spectra in = %(n_accepted)d accepted + %(n_rejected)d rejected", balance)


if __name__ == "__main__":
    main(snakemake)

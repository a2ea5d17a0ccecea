"""Figures of the catalogue itself: accounting, Kiel diagram, chi2."""

import json
from pathlib import Path

from lamostvac.catalog.files import read_table
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.vocabulary import LABELS
from lamostvac.report.catalogue import accounting, chi2, kiel
from lamostvac.report.style import save


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    inputs, outputs, params = snakemake.input, snakemake.output, snakemake.params
    save(
        accounting(json.loads(Path(inputs.accounting).read_text(encoding="utf-8"))),
        outputs.accounting,
    )
    recommended = [f"{label}_rec" for label in LABELS]
    others = ["chi2", "spectral_type", "flag_alpha_fe", params.snr_band]
    table = read_table(inputs.catalogue, [*LABELS, *recommended, *others])
    table["alpha_fe"] = table["alpha_fe"].where(table["flag_alpha_fe"] == 0)
    for labels, whose, path in (
        (recommended, "Recommended labels", outputs.kiel),
        (LABELS, "The emulator's labels", outputs.kiel_emulator),
    ):
        teff, logg, feh, alpha_fe = (table[label].to_numpy() for label in labels)
        save(kiel(teff, logg, feh, alpha_fe, whose), path)
    save(chi2(table, params.snr_band, params.thresholds), outputs.chi2)
    log.info("figures of %d stars", len(table))


if __name__ == "__main__":
    main(snakemake)

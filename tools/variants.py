"""Run the workflow on the real files once per variant of the method and print how each compares with LASP.

The table of docs/method.md section 5: `python tools/variants.py` after `make setup`. Each variant is
config/real.yaml with one setting changed; its results are in results/variants/NAME.
"""

import csv
import json
import os
import subprocess
import sys

REAL = os.environ.get("LAMOSTVAC_REAL_DATA", "../shared/real")
VARIANTS: dict[str, dict[str, dict]] = {
    "final": {},
    "not_smoothed": {"library": {"resolution": {"match": False}}},
    "smoothed_to_R1800": {"library": {"resolution": {"survey_fwhm": None}}},
    "no_extra_telluric_mask": {"prepare": {"extra_telluric_regions": []}},
    "calibration_trusted": {"fit": {"calibration_error": 0.0}},
    "no_prior": {"fit": {"prior": "none"}},
    "prior_intervals": {"fit": {"prior": "intervals"}},
    "none_of_all_this": {
        "library": {"resolution": {"match": False}},
        "prepare": {"extra_telluric_regions": []},
        "fit": {"calibration_error": 0.0, "prior": "none"},
    },
}
COMPARISONS = (
    ("lasp_dr10", "FGK S/N>20"),
    ("lasp_dr10", "A S/N>20"),
    ("crossvalidation_miles", "FGK"),
)


def run(name: str, changes: dict[str, dict]) -> str:
    """Run one variant and return the file with its comparisons."""
    results = f"results/variants/{name}"
    sections: dict[str, dict] = {
        "run": {"results": results},
        "survey": {"root": REAL},
        "library": {"spectra": f"{REAL}/libraries/miles/miles_v9.1_stack.fits.gz"},
    }
    for section, values in changes.items():
        sections[section] = sections.get(section, {}) | values
    table = f"{results}/validation/comparisons.csv"
    settings = [f"{section}={json.dumps(values)}" for section, values in sections.items()]
    command = [
        "snakemake",
        "--cores",
        "all",
        "--quiet",
        "all",
        "--configfile",
        "config/real.yaml",
        "--config",
    ]
    subprocess.run([*command, *settings, "--", table], check=True, stderr=subprocess.DEVNULL)
    return table


def main() -> None:
    """Print one line per variant, subset and label."""
    wanted = sys.argv[1:] or list(VARIANTS)
    for name in wanted:
        with open(run(name, VARIANTS[name]), encoding="utf-8") as handle:
            rows = [row for row in csv.DictReader(handle) if (row["dataset"], row["subset"]) in COMPARISONS]
        for row in rows:
            offset, scatter = float(row["offset"]), float(row["robust_sigma"])
            print(
                f"{name:24} {row['subset']:12} {row['label']:6} {row['n']:>4} {offset:9.3f} +- {scatter:8.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()

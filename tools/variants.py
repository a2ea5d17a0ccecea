"""Run the workflow on the real files once per variant of the method and print how each compares with LASP.

The table of docs/method.md section 5: `python tools/variants.py` after `make setup`. Each variant is
config/real.yaml with one setting changed; its results are in results/variants/NAME. `--config`
names another run, whose paths are relative to `--directory`, and `--compare` the data sets and
subsets that are printed of it; arguments after `--` go to Snakemake.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "config/real.yaml"
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


def run(name: str, given: argparse.Namespace) -> Path:
    """Run one variant and return the file with its comparisons."""
    results = f"results/variants/{name}"
    sections: dict[str, dict] = {"run": {"results": results}}
    if given.config == CONFIG:
        sections["survey"] = {"root": REAL}
        sections["library"] = {"spectra": f"{REAL}/libraries/miles/miles_v9.1_stack.fits.gz"}
    for section, values in VARIANTS[name].items():
        sections[section] = sections.get(section, {}) | values
    table = f"{results}/validation/comparisons.csv"
    settings = [f"{section}={json.dumps(values)}" for section, values in sections.items()]
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--cores",
        given.cores,
        "--quiet",
        "all",
        *given.snakemake,
    ]
    command += ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(given.directory)]
    command += ["--configfile", str(given.config.resolve()), "--config", *settings, "--", table]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"Error: the variant {name} failed: {done.stdout[-2000:]}")
    return given.directory / table


def dataset(text: str) -> tuple[str, str]:
    """Data set and subset of DATASET:SUBSET."""
    name, _, subset = text.partition(":")
    return name, subset


def main() -> None:
    """Print one line per variant, subset and label."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("variants", nargs="*", metavar="VARIANT", help=", ".join(VARIANTS))
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--directory", type=Path, default=ROOT)
    parser.add_argument("--cores", default="all")
    parser.add_argument(
        "--compare", type=dataset, nargs="+", default=COMPARISONS, metavar="DATASET:SUBSET"
    )
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    given = parser.parse_args(words[:end])
    given.snakemake = words[end + 1 :]
    for name in set(given.variants) - set(VARIANTS):
        sys.exit(f"Error: there is no variant {name}; there are {', '.join(VARIANTS)}")
    for name in given.variants or VARIANTS:
        with open(run(name, given), encoding="utf-8") as handle:
            rows = [
                row
                for row in csv.DictReader(handle)
                if (row["dataset"], row["subset"]) in given.compare
            ]
        for row in rows:
            offset, scatter = float(row["offset"]), float(row["robust_sigma"])
            print(
                f"{name:24} {row['subset']:12} {row['label']:6} {row['n']:>4} {offset:9.3f} +- {scatter:8.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()

# What several rules ask of the survey's manifest, and what the report consists of.

import functools
import os

import pandas as pd


@functools.lru_cache(maxsize=4)
def read_manifest(path, modified):
    """The manifest's chunks by spectral type; read once, since a release has hundreds of chunks."""
    manifest = pd.read_csv(path, dtype={"type": str, "chunk": str}, keep_default_na=False)
    return {name: tuple(rows["chunk"]) for name, rows in manifest.groupby("type", sort=False)}


def chunks_of(spectral_type):
    """Chunks of a spectral type, none where the survey found no spectrum of it."""
    checkpoints.survey.get()
    path = f"{RESULTS}/survey/manifest.csv"
    return read_manifest(path, os.path.getmtime(path)).get(spectral_type, ())


def chunk_files(pattern):
    """Input function: `pattern` with {type} and {chunk} for every chunk of the wildcard `type`."""

    def files(wildcards):
        return expand(pattern, type=wildcards.type, chunk=chunks_of(wildcards.type))

    return files


def prepared_of(types):
    """Prepared chunks of some spectral types."""

    def files(wildcards):
        return [f"{RESULTS}/prepared/{name}/{chunk}.h5" for name in types for chunk in chunks_of(name)]

    return files


FIGURES = f"{RESULTS}/validation/figures"
CATEGORIES = {
    "complete": "1 Is the data complete?",
    "labels": "2 Are the labels right?",
    "errors": "3 Are the errors right?",
}


def figure(name, question, title, caption=None):
    """An output that the report shows under a question."""
    return report(
        f"{FIGURES}/{name}.png",
        caption=f"../report/{caption or name}.rst",
        category=CATEGORIES[question],
        labels={"what": title},
    )


def validation_targets():
    """Tables and figures of validation that a complete run has; none when it is switched off."""
    if not CFG.validation.enabled:
        return []
    names = ["accounting", "kiel", "chi2", "spectra"]
    names += [f"comparison_{comparison.name}" for comparison in PRESENT]
    names += [f"crossvalidation_{CFG.library.name}"]
    names += ["comparison_truth", "pulls"] if TRUTH else []
    tables = [f"{RESULTS}/validation/comparisons.csv", f"{RESULTS}/validation/pulls.csv"]
    if NETWORK_LABELS:
        tables.append(f"{RESULTS}/validation/networks.csv")
        names += ["network_curves"] + (["network_truth", "network_pulls"] if TRUTH else [])
        names += [f"network_{what}_{name}" for name in SETS_TRAINED_HERE for what in ("stars", "predictions")]
    return tables + [f"{FIGURES}/{name}.png" for name in names]


def first_fits(wildcards):
    """The first chunk's fit of each type; fits carry a few example spectra."""
    return [
        f"{RESULTS}/fit/{spectral_type}/{chunk}.h5"
        for spectral_type in CFG.survey.types
        for chunk in chunks_of(spectral_type)[:1]
    ]

# What several stages' rules ask of the survey's manifest. The checkpoint `survey` writes it.

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
    path = RESULTS + "/survey/manifest.csv"
    return read_manifest(path, os.path.getmtime(path)).get(spectral_type, ())


def chunk_files(pattern):
    """Input function: `pattern` with {type} and {chunk} for every chunk of the wildcard `type`."""

    def files(wildcards):
        return expand(pattern, type=wildcards.type, chunk=chunks_of(wildcards.type))

    return files

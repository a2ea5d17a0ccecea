# What rules of several stages ask: resources, chunks, files from outside.

import math
import os

# Every job of a cluster and every dry run reads the rules. Modules that take long to load, and that few targets need,
# are imported where they are used; versions of packages are read without importing these.
from lamostvac.core.code_version import script_version
from lamostvac.core.exceptions import UserError
from lamostvac.core.files import sha256
from lamostvac.core.log import user_errors
from lamostvac.run import resources as resources_library
from lamostvac.run.chunks import Chunks
from lamostvac.run.digests import Digests, require_past

CHUNKS = Chunks(FILES, CFG.survey.chunk_size, CFG.survey.types)
# Digests of what comes from outside, so that a file that was touched or copied is known to be the same.
DIGESTS = Digests(FILES.digests)
# Priorities: a local run first makes the models, and fits a chunk as soon as it is prepared. Else all chunks would be
# prepared, 50 kB a spectrum, before the first network that they wait for is trained.
MAKES_MODELS = 10
READS_PREPARED = 20
# The rules that follow the chunks of a type: one job of a cluster.
TYPE_RULES = ("collect", "errors", "photometry", "recommend", "distance", "catalog")


def version_of(script):
    """Versions of the packages that a script reaches by imports."""
    return script_version(Path(workflow.basedir) / "workflow_scripts" / f"{script}.py")


def as_it_is(value):
    """A text of the user, or a list of them, for a rule's params: Snakemake would take what stands in braces for wildcards."""
    return lambda wildcards: value


def own_file(path):
    """What a file of the project contains, for a rule's params: as an input it would be another where the project moved."""
    return sha256(path)


def outside(paths):
    """Input files whose time says nothing, since their digest is a parameter; those simulated here keep it."""
    paths = [paths] if isinstance(paths, str) else paths
    with user_errors():
        require_past(path for path in paths if path not in CTX.simulated)
    return [path if path in CTX.simulated else ancient(path) for path in paths]


def digests(paths):
    """What files from outside contain; nothing for those simulated here, which Snakemake sees anew."""
    return DIGESTS.every(path for path in paths if path not in CTX.simulated)


def chunks_of(spectral_type):
    """Chunks of a spectral type; the survey is the only checkpoint."""
    checkpoints.survey.get()
    return tuple(CHUNKS.digests(spectral_type))


def chunk_files(pattern, timeless=False):
    """Input function: `pattern` with {type} and {chunk} for every chunk of the wildcard `type`.

    `timeless` files are told to be new by something else. They are marked here, not where the function is used, so
    that what stands for them until the survey has run is not: a rule has to wait for that.
    """

    def files(wildcards):
        paths = expand(pattern, type=wildcards.type, chunk=chunks_of(wildcards.type))
        return [ancient(path) for path in paths] if timeless else paths

    return files


def spectra_of(wildcards, input=None):
    """Amount of a job: the spectra of its chunk, of its type, or of the run."""
    return CHUNKS.spectra(wildcards.get("type"), wildcards.get("chunk"))


def size_kb(name=None):
    """Amount of a job: the size of its input files, or of those of one name, in kB."""

    def amount(wildcards, input):
        files = input if name is None else input.get(name)
        files = [files] if isinstance(files, str) else files
        return sum(os.path.getsize(path) for path in files) / 1000

    return amount


def asks(name, **amounts):
    """What a rule's jobs ask for by the measured model (config/resources.yaml), for `resources: **asks(...)`.

    `amounts` are numbers or functions of (wildcards, input). They are resources of the job too: so a dry run, the
    job's log and Snakemake's extended benchmarks say how much the job had to do.
    """

    def whole(value):
        # Snakemake's resources are whole numbers.
        if not callable(value):
            return math.ceil(value)
        return lambda wildcards, input: math.ceil(value(wildcards, input))

    own = {key: whole(value) for key, value in amounts.items()}

    def values(wildcards, input):
        return {
            key: value(wildcards, input) if callable(value) else value for key, value in own.items()
        }

    def mem_mb(wildcards, input, attempt):
        known = values(wildcards, input)
        return resources_library.memory_mb(name, attempt, SITE.max_memory, **known)

    def runtime(wildcards, input, attempt):
        # Rules that make up one job of the cluster share its time.
        sharing = next((len(names) for names in (CTX.chunk_rules, TYPE_RULES) if name in names), 1)
        limit = SITE.max_runtime and SITE.max_runtime / sharing
        known = values(wildcards, input)
        return resources_library.runtime_minutes(name, attempt, limit, **known)

    return {"mem_mb": mem_mb, "runtime": runtime, **own}

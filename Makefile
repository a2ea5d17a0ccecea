# Everything a user types; each target sets up .venv first (needs python3 3.11, 3.12 or 3.13).

PYTHON ?= python3
CORES ?= all
TEST_JOBS ?= 2
CONFIG ?= config/demo.yaml
LAMOSTVAC_REAL_DATA ?= ../shared/real

VENV := .venv
STAMP := $(VENV)/lamostvac-stamp
SYSTEM_PATH := $(PATH)
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export LAMOSTVAC_REAL_DATA
# A virtual environment or PYTHONPATH of the caller must not leak into this one.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

RUN := lamostvac run --cores $(CORES) $(if $(V),--verbose)
SPHINX := python -m sphinx --quiet --fail-on-warning -b html docs

.DEFAULT_GOAL := help
.PHONY: help setup demo real plan progress test test-fast test-kernel fuzz bench lock generated clean
.PHONY: check check-code check-types check-documents docs

help:
	@echo "make demo    simulate a small survey, run the whole workflow, write catalogue and report, into results/demo"
	@echo "make real    run on the files at LAMOSTVAC_REAL_DATA ($(LAMOSTVAC_REAL_DATA)), into results/real"
	@echo "make plan    what the run of CONFIG ($(CONFIG)) would do, why, and how long it would take"
	@echo "make progress  how far the run of CONFIG is, or that in RESULTS, every ten seconds"
	@echo "make test    run every test"
	@echo "make test-fast  without runs of the workflow, trainings and browsers: under 90 s on two cores"
	@echo "make test-kernel  the numeric tests on another kernel of OpenBLAS than this machine's (KERNEL=Nehalem)"
	@echo "make fuzz    give every reader damaged files for an hour (MINUTES=2), into results/fuzz"
	@echo "make check   lint, format, types, snakemake --lint, documents"
	@echo "make docs    build docs/ into results/docs/index.html; a broken link is an error"
	@echo "make bench   rates on this machine, into results/bench"
	@echo "make setup   only make .venv from requirements.lock"
	@echo "make lock    requirements.lock from pyproject.toml; needs the network"
	@echo "make generated  rewrite the files that are written from the code"
	@echo "make clean   remove .venv and caches; results/ stays"
	@echo "Variables: PYTHON=python3.12  CORES=4  CONFIG=config/mine.yaml  RESULTS=results/mine  LAMOSTVAC_REAL_DATA=folder  V=1 (all messages)"

setup: $(STAMP)

# Where .venv is not at the place that its stamp names, it was moved, and setup has to look at it.
ifneq ($(lastword $(shell cat $(STAMP) 2>/dev/null)),$(realpath $(VENV)))
.PHONY: $(STAMP)
endif

$(STAMP): requirements.lock tools/bootstrap.py tools/compile_native.py lamostvac/spectra/native.c
	@PATH="$(SYSTEM_PATH)" $(PYTHON) tools/bootstrap.py
	@PATH="$(SYSTEM_PATH)" $(PYTHON) tools/compile_native.py

demo: $(STAMP)
	$(RUN) --demo -- --report results/demo/report.html --report-after-run
	@echo
	@echo "Catalogue: results/demo/catalog/recommended.fits (and .parquet, rejected.csv, accounting.json)"
	@echo "Report:    results/demo/report.html"
	@echo "Explorer:  results/demo/explorer.html"

REAL_CONFIG = --config 'survey={root: "$(LAMOSTVAC_REAL_DATA)"}' \
	'library={spectra: "$(LAMOSTVAC_REAL_DATA)/libraries/miles/miles_v9.1_stack.fits.gz"}' \
	'validation={libraries_root: "$(LAMOSTVAC_REAL_DATA)/libraries"}'

real: $(STAMP)
	@test -d "$(LAMOSTVAC_REAL_DATA)" || { echo "Error: there is no folder $(LAMOSTVAC_REAL_DATA); \
	set LAMOSTVAC_REAL_DATA to the tree of real files (README.md says what it is)" >&2; exit 1; }
	$(RUN) --config config/real.yaml -- $(REAL_CONFIG) --report results/real/report.html --report-after-run
	@echo
	@echo "Catalogue: results/real/catalog/recommended.fits (and .parquet, rejected.csv, accounting.json)"
	@echo "Report:    results/real/report.html"
	@echo "Explorer:  results/real/explorer.html"

plan: $(STAMP)
	lamostvac plan --config $(CONFIG)

progress: $(STAMP)
	lamostvac progress $(or $(RESULTS),--config $(CONFIG)) --watch 10

test: $(STAMP)
	python -m pytest -q -n $(TEST_JOBS) --dist loadfile --no-loadscope-reorder

test-fast: $(STAMP)
	python -m pytest -q -m "not slow" -n $(TEST_JOBS) --dist worksteal

# What gives the last digits of results, and so whether two ways agree to the bit, is the kernel's order of sums.
test-kernel: $(STAMP)
	@kernel="$(KERNEL)"; test -n "$$kernel" || kernel=$$(python tools/other_kernel.py) || exit 1; \
	echo "OPENBLAS_CORETYPE=$$kernel python -m pytest -q -m numeric"; \
	OPENBLAS_CORETYPE=$$kernel python -m pytest -q -m numeric -n $(TEST_JOBS) --dist loadfile

MINUTES ?= 60

# Real files where there are some, and simulated ones; its exit status is 1 where a reader did something wrong.
fuzz: $(STAMP)
	python tools/fuzz.py --minutes $(MINUTES)

check: check-code check-types check-documents

check-code: $(STAMP)
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile rules
	python tools/architecture.py
	python tools/versions.py
	python -m lamostvac.configuration.generate
	python -m lamostvac.catalog.data_model
	python tools/lint_rules.py

check-types: $(STAMP)
	mypy

check-documents: $(STAMP)
	$(SPHINX) results/docs

docs: $(STAMP)
	$(SPHINX) results/docs
	@echo "Documents: results/docs/index.html"

bench: $(STAMP)
	python -m benchmarks.run

lock: $(STAMP)
	python tools/lock.py

generated: $(STAMP)
	python -m lamostvac.configuration.generate --write
	python -m lamostvac.catalog.data_model --write

clean:
	rm -rf $(VENV) .snakemake .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

"""Costs of each rule in memory, time and disk, from one measured table.

`config/resources.yaml` has for each rule the coefficients of sums like ``base + spectra * n``;
`tools/measure_resources.py` writes it from finished runs. A term's name is an amount, or several
amounts with `*` between them, and its value is multiplied by them: with
``{base: 300, spectra*networks: 0.01}`` a job of 200 spectra and 10 networks takes 300 + 0.01 *
2000. Rules state in `resources:` the amounts of their jobs; the plan and the progress of a run use
the same numbers.

A job requests more than its expected cost: it is multiplied by a margin, is at least a floor, and
is proportional to the attempt, so that a job that failed for lack of memory or time gets more.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from lamostvac.core.exceptions import UserError
from lamostvac.core.files import read_yaml
from lamostvac.core.paths import shipped

RESOURCES = "config/resources.yaml"
QUANTITIES = ("memory_mb", "seconds", "read_mb", "written_mb")


@dataclass(frozen=True)
class Cost:
    """The cost of one rule.

    Attributes
    ----------
    memory_mb, seconds, read_mb, written_mb : terms and coefficients of peak resident memory, CPU
        seconds, and bytes that the job reads and writes, in MB (10^6 bytes)
    jobs : number of jobs from which the coefficients are; 0 where all of them are a guess
    guess : which of memory and seconds are a guess although there are jobs; a guess is requested
        without margin
    """

    memory_mb: Mapping[str, float]
    seconds: Mapping[str, float]
    read_mb: Mapping[str, float] = field(default_factory=dict)
    written_mb: Mapping[str, float] = field(default_factory=dict)
    jobs: int = 0
    guess: frozenset[str] = frozenset()

    def guessed(self, quantity: str) -> bool:
        """Whether no measured job determines how this quantity grows."""
        return not self.jobs or quantity in self.guess


@dataclass(frozen=True)
class Asked:
    """Request of a job relative to its expected cost: times `margin`, at least `floor`."""

    margin: float
    floor: float


@dataclass(frozen=True)
class Model:
    """The table: costs by rule, and what is requested beyond them.

    `overhead_mb` is the memory of Snakemake itself beside the script in a job on a cluster.
    """

    rules: Mapping[str, Cost]
    memory: Asked
    runtime: Asked
    overhead_mb: float

    def cost(self, rule: str) -> Cost:
        """The costs of a rule; `UserError` where the table has none."""
        try:
            return self.rules[rule]
        except KeyError:
            raise UserError(
                f"{RESOURCES} has no rule {rule}; run tools/measure_resources.py"
            ) from None

    def expected(self, rule: str, quantity: str, amounts: Mapping[str, float]) -> float:
        """The expected `quantity` (one of `QUANTITIES`) of a job with these amounts."""
        return evaluate(getattr(self.cost(rule), quantity), amounts)

    def memory_mb(
        self, rule: str, attempt: int = 1, limit: float | None = None, **amounts: float
    ) -> int:
        """MB that a job requests, at most `limit`."""
        cost = self.cost(rule)
        asked = evaluate(cost.memory_mb, amounts)
        if not cost.guessed("memory_mb"):
            asked = self.overhead_mb + self.memory.margin * asked
        return _clipped(max(asked, self.memory.floor) * attempt, limit)

    def runtime_minutes(
        self, rule: str, attempt: int = 1, limit: float | None = None, **amounts: float
    ) -> int:
        """Minutes that a job requests, at most `limit`."""
        cost = self.cost(rule)
        asked = evaluate(cost.seconds, amounts) / 60.0
        if not cost.guessed("seconds"):
            asked *= self.runtime.margin
        return _clipped(max(asked, self.runtime.floor) * attempt, limit)


def evaluate(terms: Mapping[str, float], amounts: Mapping[str, float]) -> float:
    """The sum of coefficients times the products of amounts in their names; `base` has none.

    Raises `UserError` when a term needs an amount that is not given.
    """
    total = 0.0
    for name, coefficient in terms.items():
        product = coefficient
        if name != "base":
            for amount in name.split("*"):
                if amount not in amounts:
                    raise UserError(
                        f"{RESOURCES}: the term {name} needs {amount}, but the job has {', '.join(amounts) or 'none'}"
                    )
                product *= amounts[amount]
        total += product
    return total


def _clipped(value: float, limit: float | None) -> int:
    # Rounding before the ceiling, so that 300.00000000001 does not become 301.
    asked = math.ceil(round(value, 6))
    return asked if limit is None else min(asked, math.floor(limit))


@lru_cache(maxsize=4)
def load_model(path: str | Path | None = None) -> Model:
    """The table in a file, by default the shipped one.

    Raises `UserError` when it is not such a table.
    """
    source = shipped(RESOURCES) if path is None else Path(path)
    content = read_yaml(source, "the table of resources")
    try:
        return Model(
            rules={rule: _cost(rule, entry) for rule, entry in content["rules"].items()},
            memory=Asked(
                _number(content["memory"]["margin"]), _number(content["memory"]["floor_mb"])
            ),
            runtime=Asked(
                _number(content["runtime"]["margin"]), _number(content["runtime"]["floor_minutes"])
            ),
            overhead_mb=_number(content["memory"]["overhead_mb"]),
        )
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        said = f"{type(error).__name__}: {str(error)[:200]}"
        raise UserError(f"the table of resources {source} is not complete: {said}") from None


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is no finite number")
    return number


def _cost(rule: str, entry: Mapping[str, Any]) -> Cost:
    unknown = set(entry) - {*QUANTITIES, "jobs", "guess"}
    if unknown:
        raise UserError(
            f"the table of resources: {rule} has {sorted(unknown)[0]}, which means nothing"
        )
    numbers = {
        quantity: {name: _number(value) for name, value in entry.get(quantity, {}).items()}
        for quantity in QUANTITIES
    }
    return Cost(**numbers, jobs=int(entry.get("jobs", 0)), guess=frozenset(entry.get("guess", ())))


def memory_mb(rule: str, attempt: int = 1, limit: float | None = None, **amounts: float) -> int:
    """MB that a job of a rule requests by the shipped table (`Model.memory_mb`)."""
    return load_model().memory_mb(rule, attempt, limit, **amounts)


def runtime_minutes(
    rule: str, attempt: int = 1, limit: float | None = None, **amounts: float
) -> int:
    """Minutes that a job of a rule requests by the shipped table (`Model.runtime_minutes`)."""
    return load_model().runtime_minutes(rule, attempt, limit, **amounts)


def predicted_seconds(rule: str, **amounts: float) -> float:
    """CPU seconds that a job of a rule is expected to take by the shipped table."""
    return load_model().expected(rule, "seconds", amounts)

"""Draws what each rule costs, from the logs of finished runs.

    python tools/draw_costs.py docs/images/costs.png results/fifty_thousand results/million

A bar for each rule whose jobs say how many spectra they had, but for the simulation: processor time per spectrum of its
job with the most spectra in any of the runs, start of Python and imports included where scripts were not forked. The
number of spectra stands beside it, since what a job costs whatever its size is shared among them.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lamostvac.report.style import STYLE, save
from lamostvac.run.job_records import accounts

# Colours of rules that do a chunk, a type, and the whole catalogue.
PARTS = {
    "a chunk": (
        "#3d7ea6",
        ("prepare", "project", "candidates", "search_chunk", "fit", "fit_imig", "fit_further", "predict"),
    ),
    "a type": (
        "#63b598",
        ("collect", "errors", "recommend", "photometry", "distance", "catalog"),
    ),
    "the catalogue": ("#d9674f", ()),
}  # fmt: skip


class Cost(NamedTuple):
    """Processor seconds of a rule's largest job, and its spectra."""

    seconds: float
    spectra: float

    @property
    def microseconds(self) -> float:
        """Of processor time for a spectrum."""
        return 1e6 * self.seconds / self.spectra


def costs(folders: Sequence[Path]) -> dict[str, Cost]:
    """The largest job of each rule whose jobs have `spectra`."""
    found: dict[str, Cost] = {}
    for folder in folders:
        for job, account, _ in accounts(folder):
            rule, spectra = account.rule or job.rule, account.asked.get("spectra", 0.0)
            if rule.startswith("simulate"):
                continue
            if account.used and spectra > (found[rule].spectra if rule in found else 0.0):
                found[rule] = Cost(account.used["cpu_seconds"], spectra)
    return found


def part_of(rule: str) -> str:
    """What a job of a rule does."""
    return next((name for name, (_, rules) in PARTS.items() if rule in rules), "the catalogue")


def draw(found: Mapping[str, Cost], path: Path) -> None:
    """The picture: bars in the order of their length within each part."""
    order = [
        rule
        for name in reversed(PARTS)
        for rule in sorted(found, key=lambda rule: found[rule].microseconds)
        if part_of(rule) == name
    ]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(7, 0.6 + 0.22 * len(order)))
        for place, rule in enumerate(order):
            cost, (colour, _) = found[rule], PARTS[part_of(rule)]
            axes.barh(place, cost.microseconds, color=colour)
            digits = ",.0f" if cost.microseconds >= 100 else ".3g"
            text = f" {cost.microseconds:{digits}} ({cost.spectra:,.0f})"
            axes.text(cost.microseconds, place, text, va="center", fontsize=7)
        axes.set_yticks(range(len(order)), order)
        axes.set_ylim(-0.6, len(order) - 0.4)
        axes.set_xscale("log")
        low, high = axes.get_xlim()
        axes.set_xlim(low, 4 * high)
        axes.set_xlabel("processor time per spectrum / µs (spectra of the job)")
        handles = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour, _ in PARTS.values()]
        axes.legend(handles, [f"jobs of {name}" for name in PARTS], loc="lower right")
        save(figure, path)


def main(arguments: Sequence[str]) -> None:
    if len(arguments) < 2:
        sys.exit("usage: python tools/draw_costs.py PICTURE.png RESULTS...")
    picture, *folders = map(Path, arguments)
    found = costs(folders)
    draw(found, picture)
    for rule, cost in found.items():
        print(f"{rule:<20} {cost.microseconds:>10.2f} us a spectrum of {cost.spectra:,.0f}")


if __name__ == "__main__":
    main(sys.argv[1:])

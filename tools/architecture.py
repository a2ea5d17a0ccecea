"""The packages of the library and what imports what: checks the layers and draws the picture of CONTRIBUTING.md.

    python tools/architecture.py                       say what breaks the layers, and the largest modules
    python tools/architecture.py docs/images/packages.png

A package may import from packages of lower layers only, so there can be no cycle between packages.
"""

import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lamostvac.core.code_version import LIBRARY, imports, package_of

LAYERS = (
    ("core",),
    ("numerics", "external", "spectra", "simulate", "recommend"),
    ("survey", "library", "networks", "training", "uncertainty", "distance"),
    ("emulator", "catalog", "fetch", "provenance"),
    ("fit", "publish", "validation"),
    ("grouped", "report"),
    ("experiments", "star", "compare"),
    ("configuration", "label"),
    ("run",),
    ("cli",),
)
LARGEST = 449  # lines of a module


def modules() -> list[Path]:
    """All files of the library's packages."""
    return sorted(path for path in LIBRARY.rglob("*.py") if package_of(path))


def arrows() -> dict[tuple[str, str], int]:
    """How many imports go from one package to another."""
    found: dict[tuple[str, str], int] = defaultdict(int)
    for path in modules():
        for target in imports(path):
            if (pair := (package_of(path), package_of(target)))[0] != pair[1] and pair[1]:
                found[pair] += 1
    return dict(found)


def upwards() -> list[str]:
    """Imports that break the layers, a line each."""
    level = {name: number for number, names in enumerate(LAYERS) for name in names}
    lines = []
    for path in modules():
        for target in imports(path):
            one, other = package_of(path), package_of(target)
            if other and one != other and level[other] >= level[one]:
                lines.append(f"{path.relative_to(LIBRARY)} imports {target.relative_to(LIBRARY)}")
    return sorted(lines)


def cycles() -> list[list[str]]:
    """Modules that import each other, directly or through others."""
    graph = {path: {t for t in imports(path) if t != path} for path in modules()}
    found, state = [], {}

    def visit(path: Path, trail: list[Path]) -> None:
        state[path] = "open"
        for target in graph.get(path, ()):
            if state.get(target) == "open":
                found.append([str(p.relative_to(LIBRARY)) for p in trail[trail.index(target) :]])
            elif target not in state and target in graph:
                visit(target, [*trail, target])
        state[path] = "done"

    for path in graph:
        if path not in state:
            visit(path, [path])
    return found


def sizes() -> list[tuple[int, str]]:
    """Lines of every module, the largest first."""
    counted = (
        (len(path.read_text().splitlines()), str(path.relative_to(LIBRARY))) for path in modules()
    )
    return sorted(counted, reverse=True)


def reduced(pairs: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The arrows without those that a longer way says already."""
    below: dict[str, set[str]] = defaultdict(set)
    for names in LAYERS:
        for name in names:
            for one, other in pairs:
                if one == name:
                    below[name] |= {other} | below[other]
    return {
        (one, other)
        for one, other in pairs
        if not any(other in below[middle] for first, middle in pairs if first == one)
    }


def draw(target: str) -> None:
    """The picture: a row for each layer, the highest on top; arrows to what a package imports."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.patches import FancyBboxPatch

    width, height, row = 1.45, 0.42, 1.25
    figure, axes = plt.subplots(figsize=(12, 10))
    place: dict[str, tuple[float, float]] = {}
    for level, names in enumerate(LAYERS):
        shift = (
            0.35 * (-1) ** level if len(names) < 4 else 0.0
        )  # no arrow runs through a box between
        for number, name in enumerate(names):
            place[name] = ((number + 0.5 - len(names) / 2) * 2.0 + shift, level * row)
    colours = plt.get_cmap("tab20").colors
    order = [name for names in LAYERS for name in names]
    for one, other in sorted(reduced(set(arrows()))):
        (x, y), (to_x, to_y) = place[one], place[other]
        start = (x + 0.3 * width * np.clip((to_x - x) / 4, -1, 1), y - height / 2)
        end = (to_x + 0.3 * width * np.clip((x - to_x) / 4, -1, 1), to_y + height / 2)
        axes.annotate(
            "",
            end,
            start,
            arrowprops={
                "arrowstyle": "-|>,head_width=0.22,head_length=0.45",
                "color": colours[order.index(one) % 20],
                "lw": 1.3,
                "shrinkA": 0,
                "shrinkB": 0,
            },
        )
    count = Counter(package_of(path) for path in modules())
    for name, (x, y) in place.items():
        axes.add_patch(
            FancyBboxPatch(
                (x - width / 2, y - height / 2),
                width,
                height,
                boxstyle="round,pad=0.02",
                facecolor="white",
                edgecolor=colours[order.index(name) % 20],
                linewidth=1.8,
                zorder=3,
            )
        )
        axes.text(x, y + 0.05, name, ha="center", va="center", fontsize=11, zorder=4)
        files = f"{count[name]} module" + "s" * (count[name] > 1)
        axes.text(x, y - 0.13, files, ha="center", va="center", fontsize=7, color="0.4", zorder=4)
    axes.set(xlim=(-6.2, 6.2), ylim=(-0.5, (len(LAYERS) - 1) * row + 0.5))
    axes.axis("off")
    axes.set_title(
        "Packages of lamostvac. An arrow points to what is imported; one that follows from others is left out.",
        fontsize=11,
    )
    figure.savefig(target, dpi=110, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)


def main(arguments: list[str]) -> int:
    """Draw, or say what is wrong."""
    if arguments:
        draw(arguments[0])
        return 0
    wrong = upwards() + [" -> ".join(cycle) for cycle in cycles()]
    print("\n".join(wrong) or "no import goes upwards, no cycle")
    for lines, name in sizes()[:8]:
        print(f"{lines:5d} {name}")
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

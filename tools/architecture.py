"""The packages of the library and what imports what: checks the layers and draws the picture of CONTRIBUTING.md.

    python tools/architecture.py                       say what breaks the layers, and the largest modules
    python tools/architecture.py docs/images/packages.png

A package may import from packages of lower layers only, so there can be no cycle between packages.
"""

import sys
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lamostvac.core.code_version import LIBRARY, imports, package_of

LAYERS = (
    ("core",),
    ("numerics", "external", "spectra", "simulate", "recommend"),
    ("survey", "library", "networks", "training", "uncertainty", "distance"),
    ("emulator", "catalog", "fetch"),
    ("fit", "publish", "validation"),
    ("grouped", "report"),
    ("experiments", "star"),
    ("configuration",),
    ("run",),
    ("cli",),
)
LARGEST = 450  # lines of a module


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


def draw(target: str) -> None:
    """The picture: a row for each layer, the highest on top; an arrow for what a package imports."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(11, 8.5))
    place = {}
    for level, names in enumerate(LAYERS):
        for number, name in enumerate(names):
            place[name] = ((number + 0.5) / len(names) * 10 + 0.15 * (-1) ** level, float(level))
    for (one, other), count in arrows().items():
        axes.annotate(
            "",
            place[other],
            place[one],
            arrowprops={
                "arrowstyle": "-|>",
                "color": "#8894a0",
                "lw": 0.4 + 0.12 * min(count, 12),
                "alpha": 0.55,
                "shrinkA": 11,
                "shrinkB": 11,
                "connectionstyle": "arc3,rad=0.06",
            },
        )
    count = defaultdict(int)
    for path in modules():
        count[package_of(path)] += 1
    for name, (x, y) in place.items():
        axes.text(
            x,
            y,
            f"{name}\n{count[name]} modules",
            ha="center",
            va="center",
            fontsize=9,
            bbox={"boxstyle": "round,pad=0.4", "fc": "#eef3f8", "ec": "#3d7ea6"},
        )
    axes.set(xlim=(-0.3, 10.3), ylim=(-0.6, len(LAYERS) - 0.4))
    axes.axis("off")
    axes.set_title(
        "Packages of lamostvac: an arrow points to what is imported, and only downwards",
        fontsize=11,
    )
    figure.savefig(target, dpi=110, bbox_inches="tight", metadata={"Software": None})


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

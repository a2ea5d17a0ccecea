"""The comparison of two runs for people: a page, a summary for the terminal, a changelog."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lamostvac.compare.causes import Difference
from lamostvac.compare.runs import Comparison
from lamostvac.core.atomic import atomic
from lamostvac.core.html import write_page

_HEAD = (
    *("label", "type", "in both", "changed", "gained", "lost", "median shift", "robust sigma"),
    *("median error", "beyond 1 error", "beyond 3"),
)
_RENAMED_SHOWN = 5  # renamed columns that the terminal shows; the page has all
_LONGEST = 200  # characters of a value that the page and the changelog show


def write_comparison(path: Path, found: Comparison) -> None:
    """Write the page."""
    main = found.labels["label"].isin(found.listed)
    others = found.labels[~main & (found.labels["spectral_type"] == "all")]
    causes = found.causes
    changed = found.flags[(found.flags["n_set"] > 0) | (found.flags["n_cleared"] > 0)]
    write_page(
        path,
        "compare/templates/compare.html.j2",
        names=found.names,
        head=_cards(found),
        limit=f"{found.limit:g}",
        listed=", ".join(found.listed) or "no label",
        images=found.images,
        changes=_changes(found),
        notes=causes.notes,
        none_known=causes.none_known and not causes.notes,
        settings=_short(causes.settings),
        code=_short(causes.code),
        software=_short(causes.software),
        inputs=_short(causes.inputs),
        label_head=_HEAD,
        main_rows=_label_rows(found.labels[main], found),
        other_rows=_label_rows(others, found),
        n_other=len(others),
        shown=[name for name in found.listed if name in found.images],
        nowhere=[name for name in found.listed if name not in found.images],
        flags=[tuple(row) for row in changed.itertuples(index=False)],
        only_before=found.only_before,
        only_after=found.only_after,
        other_unit=found.other_unit,
        renamed=found.renamed,
    )


def _cards(found: Comparison) -> list[tuple[str, str]]:
    counts = (
        (found.n_before, "spectra in the first run"),
        (found.n_after, "spectra in the second run"),
        (found.n_both, "in both"),
        (int(found.came["size"].sum()), "came"),
        (int(found.went["size"].sum()), "went"),
        (found.n_moved, f"moved beyond {found.limit:g} combined errors"),
        (found.new_type, "of another spectral type"),
    )
    return [(f"{count:,}", what) for count, what in counts]


def _changes(found: Comparison) -> list[tuple[str, str, str, str]]:
    return [
        (word, row["spectral_type"], row["reason"], f"{row['size']:,}")
        for word, table in (("came", found.came), ("went", found.went))
        for row in table.to_dict("records")
    ]


def _number(value: float, scale: float) -> str:
    """A value with digits as they matter beside `scale`, a label's error."""
    if not np.isfinite(value):
        return ""
    digits = 2 - int(np.floor(np.log10(scale))) if np.isfinite(scale) and scale > 0 else 3
    text = f"{value:+.{max(digits, 0)}f}"
    return text if float(text) else text[1:]


def _label_rows(table: pd.DataFrame, found: Comparison) -> list[tuple[str, ...]]:
    rows = []
    there = table[["n_both", "n_gained", "n_lost"]].any(axis=1)
    for row in table[there].to_dict("records"):
        unit = found.units[row["label"]]
        scale = row["median_error"]
        rows.append(
            (
                row["label"] + (f" / {unit}" if unit else ""),
                row["spectral_type"],
                *(f"{row[name]:,}" for name in ("n_both", "n_changed", "n_gained", "n_lost")),
                _number(row["median_shift"], scale),
                _number(row["robust_sigma"], scale).lstrip("+"),
                _number(scale, scale).lstrip("+"),
                *(
                    "" if np.isnan(row[name]) else f"{100 * row[name]:.2f} %"
                    for name in ("beyond_1", "beyond_3")
                ),
            )
        )
    return rows


def _short(differences: Sequence[Difference]) -> list[Difference]:
    def cut(text: str) -> str:
        return text if len(text) <= _LONGEST else text[: _LONGEST - 4] + " ..."

    return [(cut(name), cut(one), cut(other)) for name, one, other in differences]


def summary_text(found: Comparison) -> str:
    """The comparison in a few lines for a terminal."""
    lines = [f"{count:>12} {what}" for count, what in _cards(found)]
    for row in found.labels.to_dict("records"):
        if row["label"] in found.listed and row["spectral_type"] == "all":
            unit, scale = found.units[row["label"]] or "dex", row["median_error"]
            shift, width = (_number(row[key], scale) for key in ("median_shift", "robust_sigma"))
            lines.append(
                f"{row['label']:>12} {shift} +- {width.lstrip('+')} {unit} (median, robust sigma; n = "
                f"{row['n_both']:,}), "
                f"{100 * row['beyond_3']:.2f} % beyond 3 combined errors"
                if row["n_both"]
                else f"{row['label']:>12} no spectrum has it in both runs"
            )
    causes = found.causes
    parts = (
        ("settings", causes.settings),
        ("code", causes.code),
        ("software", causes.software),
        ("inputs", causes.inputs),
    )
    differing = [f"{len(entries)} of {what}" for what, entries in parts if entries]
    if found.renamed:
        shown = found.renamed[:_RENAMED_SHOWN]
        more = len(found.renamed) - len(shown)
        lines.append("renamed columns: " + "; ".join(shown) + (f"; {more} more" if more else ""))
    lines.append("what differs: " + (", ".join(differing) or "nothing that is recorded"))
    return "\n".join(lines)


def write_changelog(path: Path, found: Comparison) -> None:
    """Write what a catalogue's changelog says of the step from the first run to the second
    (Markdown).
    """
    lines = [
        f"## {found.names[1]} (since {found.names[0]})",
        "",
        f"- {found.n_after:,} spectra ({found.n_before:,} before): {int(found.came['size'].sum()):,} came, "
        f"{int(found.went['size'].sum()):,} went, {found.new_type:,} have another spectral type.",
        f"- {found.n_moved:,} of the {found.n_both:,} spectra of both moved by more than {found.limit:g} combined "
        f"errors in {', '.join(found.listed) or 'no label'}.",
    ]
    for word, table in (("Came", found.came), ("Went", found.went)):
        by_reason = table.groupby("reason")["size"].sum().sort_values(ascending=False)
        why = [f"`{reason}` {count:,}" for reason, count in by_reason.items()]
        lines += (
            [f"- {word}, and why the other version lacks them: {', '.join(why)}."] if why else []
        )
    lines += ["", "| " + " | ".join(_HEAD) + " |", "|" + "---|" * len(_HEAD)]
    everything = found.labels[found.labels["label"].isin(found.listed)]
    lines += ["| " + " | ".join(row) + " |" for row in _label_rows(everything, found)]
    lines.append("")
    if found.only_after:
        lines.append("- New columns: " + ", ".join(f"`{name}`" for name in found.only_after) + ".")
    if found.only_before:
        gone = ", ".join(f"`{name}`" for name in found.only_before)
        lines.append(f"- Columns that are no longer there: {gone}.")
    if found.renamed:
        lines.append(f"- Renamed columns: {'; '.join(found.renamed)}.")
    if found.other_unit:
        lines.append(f"- Columns with another unit: {', '.join(found.other_unit)}.")
    causes = found.causes
    lines += [f"- {note}." for note in causes.notes]
    for title, entries in (
        ("Settings", causes.settings),
        ("Code", causes.code),
        ("Other software", causes.software),
        ("Inputs", causes.inputs),
    ):
        lines += [f"- {title}:"] if entries else []
        lines += [f"  - `{name}`: `{one}`, now `{other}`" for name, one, other in _short(entries)]
    with atomic(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")

"""Whether the code that labels is that of the run which a pack comes from."""

from pathlib import Path

from lamostvac.core.code_version import script_version
from lamostvac.label import models
from lamostvac.label.pack import PackSettings


def other_code(settings: PackSettings) -> str:
    """A sentence where labels can differ from the run's because the code is another; else "".

    What counts are the versions of those packages of the library that labels depend on.
    """
    made, here = settings.packages, script_version(Path(models.__file__))
    if all(made.get(name) == version for name, version in here.items()):
        return ""
    cards = settings.provenance
    commit = f", commit {cards['GITHASH'][:8]}" if cards.get("GITHASH") else ""
    said = f"it was made by {cards.get('CREATOR', 'another version')}{commit}, "
    if not made:
        said += "which did not note the versions of its code"
    else:
        others = [
            f"{name} ({made.get(name, 'none')} there, {version} here)"
            for name, version in here.items()
            if made.get(name) != version
        ]
        said += f"with other code for {', '.join(others)}"
    return f"{said}: labels can differ from those of its run; `lamostvac pack` makes it anew"

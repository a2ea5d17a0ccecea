"""Why a spectrum has no labels, for somebody who has a pack and neither catalogue nor configuration."""

from lamostvac.core.rejection import REASONS
from lamostvac.label.pack import PackSettings


def reasons_of(settings: PackSettings) -> dict[str, str]:
    """`core.rejection.REASONS` with what the pack says in the place of a configuration's keys.

    All that a user can do about these is to take another pack, of a run with other settings.
    """
    types = ", ".join(settings.types)
    limits = settings.snr_min.model_dump()
    least = ", ".join(f"{limits[name]:g} ({name})" for name in settings.types)
    return REASONS | {
        "not_a_star": f"CLASS is not {' or '.join(settings.classes)}, the only ones that this pack labels",
        "type_not_selected": f"this pack has models of the types {types} alone",
        "low_snr": f"S/N in {settings.snr_band} is missing, or less than this pack takes: {least}",
        "duplicate_spectrum": "the same spectrum (lmjd-planid-spid-fiberid) is in another of the files",
        "duplicate_obsid": "another of the files has the same obsid for another spectrum",
        "bad_text": "a text in the header is longer than a column of ours holds",
        "bad_redshift": "the redshift is missing, not finite or beyond what this pack takes for a "
        f"star's, {settings.max_abs_redshift:g}",
        "too_few_pixels": "fewer usable pixels than the models of this pack need",
        "too_many_outliers": "more pixels are unlike any star than this pack allows, "
        f"{settings.max_outlier_fraction:.0%}",
        "no_network": "no network of this pack is applied to such a spectrum",
    }

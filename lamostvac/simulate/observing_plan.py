"""The observing plan: night, plate and fibre of each star's visits."""

import numpy as np
import pandas as pd
from astropy.coordinates import SkyCoord

from lamostvac.core.exceptions import UserError
from lamostvac.core.vocabulary import TYPE_ORDER
from lamostvac.simulate import (
    population,
    samples,
)
from lamostvac.simulate.settings import SimulationSettings


def n_spectra(settings: SimulationSettings) -> int:
    """Approximate number of spectra that `simulate_release` makes, for a progress report."""
    n_stars = (
        sum(settings.n_stars.values()) + settings.n_low_snr + sum(settings.n_training.values())
    )
    return int(n_stars * (1 + 1.45 * settings.repeat_fraction))


def plan(
    rng: np.random.Generator, settings: SimulationSettings
) -> tuple[population.Stars, pd.DataFrame]:
    """Draw the stars and give each its visits: plate, night, spectrograph, fibre, S/N.

    Returns the stars (positions inside their fields) and a table with one row per visit.
    """
    counts = {str(name): count for name, count in settings.n_stars.items()}
    n_wanted = sum(counts.values()) + sum(settings.n_training.values())
    n_low = settings.n_low_snr
    # the extra low-S/N stars are added to the types with the most stars
    extra: dict[str, int] = {}
    for i in range(n_low):
        name = ("F", "G", "K", "M")[i % 4]
        extra[name] = extra.get(name, 0) + 1
    total = {name: counts.get(name, 0) + extra.get(name, 0) for name in TYPE_ORDER}
    stars = population.draw(
        rng,
        total,
        binary_fraction=settings.binary_fraction,
        emission_fraction=settings.emission_fraction,
        ebv_scale=settings.ebv_scale,
    )
    n_field_stars = stars.teff.size
    snr_field = settings.snr_median * 10 ** (
        settings.snr_scatter_dex * rng.standard_normal(n_field_stars)
    )
    parts, wanted_snr = [stars], [np.clip(snr_field, settings.snr_min, settings.snr_max)]
    for sample in samples.SAMPLES:
        if count := settings.n_training.get(sample, 0):  # type: ignore[call-overload]
            drawn, snr_drawn = samples.draw(
                rng, sample, count, binary_fraction=settings.binary_fraction,
                ebv_scale=settings.ebv_scale,
                snr_max=settings.snr_max,
            )  # fmt: skip
            parts.append(drawn)
            wanted_snr.append(snr_drawn)
    stars, snr = population.concatenate(parts), np.concatenate(wanted_snr)
    n = stars.teff.size
    low = np.zeros(n, dtype=bool)
    for name, count in extra.items():
        low[np.flatnonzero(stars.spectral_type[:n_field_stars] == name)[-count:]] = True

    # fields of 2.5 degrees; each is observed at least once, repeats come on other nights
    n_fields = max(1, round(n_wanted / settings.stars_per_plate))
    field_ra, field_dec, field = _fields(rng, stars, n_fields)
    radius, angle = 2.4 * np.sqrt(rng.random(n)), rng.uniform(0, 2 * np.pi, n)
    stars.dec = field_dec[field] + radius * np.sin(angle)
    stars.ra = (field_ra[field] + radius * np.cos(angle) / np.cos(np.radians(stars.dec))) % 360
    stars.pmra, stars.pmdec = samples.proper_motions(rng, stars)

    snr[low] = rng.uniform(0.5, 4.0, int(low.sum()))
    repeated = (rng.random(n) < settings.repeat_fraction) & ~low
    n_visits = np.where(repeated, rng.choice([2, 2, 3, 4], n), 1)
    first_night = 56000 + rng.choice(2500, n_fields, replace=False)
    gaps = np.cumsum(
        np.concatenate([np.zeros((n_fields, 1), int), rng.integers(3, 120, (n_fields, 3))], axis=1),
        axis=1,
    )
    plate_table = rng.random((n_fields, 4)) < settings.table_fraction
    if n_fields > 1 and 0 < settings.table_fraction < 1:
        # both layouts, even with few plates
        plate_table[0, 0], plate_table[1, 0] = True, False
    moon = rng.random((n_fields, 4)) ** 2
    helio = rng.uniform(-28, 28, (n_fields, 4))

    star = np.repeat(np.arange(n), n_visits)
    visit = np.concatenate([np.arange(k) for k in n_visits]) if n else np.empty(0, int)
    table = pd.DataFrame({"star": star, "visit": visit, "field": field[star]})
    f, v = table["field"].to_numpy(), visit
    table["lmjd"] = first_night[f] + gaps[f, v]
    sign = np.where(field_dec[f] < 0, "S", "N")
    table["planid"] = [
        f"HD{_sexagesimal(ra / 15)}{s}{_sexagesimal(abs(dec))}V{k + 1:02d}"
        for ra, s, dec, k in zip(field_ra[f], sign, field_dec[f], v, strict=True)
    ]
    table["field_ra"], table["field_dec"] = field_ra[f], field_dec[f]
    table["layout"] = np.where(plate_table[f, v], "table", "image")
    table["moon"], table["helio_rv"] = moon[f, v], helio[f, v]
    scatter = np.where(visit > 0, 10 ** (0.15 * rng.standard_normal(len(table))), 1.0)
    table["snr"] = np.where(
        low[star] | (visit == 0),
        snr[star],
        np.clip(snr[star] * scatter, settings.snr_min, settings.snr_max),
    )
    table["low_snr"] = low[star]
    # fibres: unique on a plate, 16 spectrographs with 250 fibres
    fibre = np.empty(len(table), dtype=int)
    for indices in table.groupby("planid", sort=True).indices.values():
        rows = np.asarray(indices)
        if rows.size > 3990:
            raise UserError(
                "simulation.stars_per_plate is larger than the 4000 fibres of LAMOST; write at most 3500"
            )
        fibre[rows] = rng.choice(4000, rows.size, replace=False)
    table["spid"], table["fiberid"] = fibre // 250 + 1, fibre % 250 + 1
    return stars, table


def _fields(
    rng: np.random.Generator, stars: population.Stars, n_fields: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Right ascension and declination of fields' centres (n_fields,), and each star's field (n,).

    Stars of the sample lgmwas are 30 degrees or more from the Galactic plane, unless their fault is
    a lower latitude; then they are just below that limit, where SDSS still has stars.
    """
    n = stars.teff.size
    high = (stars.sample == "lgmwas") & (stars.fault != "latitude")
    near_plane = stars.fault == "latitude"
    latitude = np.full(n_fields, np.nan)
    field_ra, field_dec = np.empty(n_fields), np.empty(n_fields)
    # the fields at high latitude for the sample, and one near the plane when there are two or more
    n_high = int(np.ceil(n_fields * high.sum() / max(n, 1)))
    wanted = np.array([1] * n_high + [-1] * bool(near_plane.any()) + [0] * n_fields)[:n_fields]
    for k, want in enumerate(wanted):
        while True:
            field_ra[k] = rng.uniform(0, 360)
            field_dec[k] = np.degrees(
                np.arcsin(rng.uniform(np.sin(np.radians(-5)), np.sin(np.radians(55))))
            )
            centre = SkyCoord(field_ra[k], field_dec[k], unit="deg").galactic.b.deg
            latitude[k] = abs(centre)
            if not want or (want > 0 and latitude[k] > 33) or (want < 0 and 24 < latitude[k] < 27):
                break
    field = rng.permutation(np.arange(n) % n_fields)
    for which, allowed in ((high, latitude > 33), (near_plane, (latitude > 24) & (latitude < 27))):
        index, choice = np.flatnonzero(which), np.flatnonzero(allowed)
        if index.size and choice.size:
            field[index] = rng.permutation(choice[np.arange(index.size) % choice.size])
    return field_ra, field_dec, field


def _sexagesimal(value: float) -> str:
    seconds = int(value * 3600)
    return f"{seconds // 3600:02d}{seconds // 60 % 60:02d}{seconds % 60:02d}"

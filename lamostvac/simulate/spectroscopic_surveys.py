"""APOGEE and PASTEL of the simulated stars: labels with the surveys' errors, flags and offsets."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from lamostvac.simulate.measurement import source_id
from lamostvac.simulate.population import Stars

# Shares of the other stars that a survey has seen
APOGEE_SHARE, PASTEL_SHARE = 0.25, 0.03
N_REFERENCES = 25
# Scatter between references, and typical random error of a measurement
REFERENCE_OFFSET = {"Teff": 60.0, "logg": 0.10, "[Fe/H]": 0.06}
MEASUREMENT_ERROR = {"Teff": 60.0, "logg": 0.10, "[Fe/H]": 0.06}
# Bits of ASPCAPFLAG; the others are set on good stars too
STAR_WARN, STAR_BAD = 1 << 7, 1 << 23
HARMLESS_FLAGS = (0, 1 << 8, 1 << 16, 0b111, 0b10111, (1 << 8) | (1 << 9))
EXTRATARG_DUPLICATE = 1 << 4


def apogee_table(rng: np.random.Generator, stars: Stars, twomass: pd.DataFrame) -> pd.DataFrame:
    """allStar of DR16: the sample's stars and a quarter of the other cool ones, some of them twice.

    A second row of a star (EXTRATARG bit 4) has lower S/N and different values.
    """
    n = stars.teff.size
    cool = (stars.teff > 3800) & (stars.teff < 6500) & (stars.feh > -2.9)
    seen = (stars.sample == "apogee") | (cool & (rng.random(n) < APOGEE_SHARE))
    first = np.flatnonzero(seen)
    good = stars.fault[first] == ""
    duplicated = first[good & (rng.random(first.size) < 0.06)]
    if not duplicated.size:
        duplicated = first[good][:1]
    index = np.concatenate([first, duplicated])
    second = np.arange(index.size) >= first.size
    m = index.size
    fault = np.where(second | (stars.sample[index] != "apogee"), "", stars.fault[index])

    snr = np.clip(220 * 10 ** (0.25 * rng.standard_normal(m)), 30, 900)
    own = (stars.sample[index] == "apogee") & ~second
    snr = np.where(own, np.maximum(snr, 75 + 20 * rng.random(m)), snr)
    snr = np.where(second, np.minimum(snr, 70 + 30 * rng.random(m)), snr)
    snr = np.where(fault == "apogee_snr", rng.uniform(25, 68, m), snr)

    teff, feh = stars.teff[index], stars.feh[index]
    alpha, carbon, nitrogen = stars.alpha_fe[index], stars.c_fe[index], stars.n_fe[index]
    noise = np.sqrt(0.6 + 0.4 * (150 / snr) ** 2)
    # lines are weaker in hot and metal-poor stars
    weak = 10 ** (0.18 * np.clip(-feh - 0.3, 0, 3)) * np.interp(teff, [4500, 6500], [1.0, 1.6])
    faults_of = {
        "TEFF": ("teff_err", 150.0), "LOGG": ("logg_err", 0.15), "FE_H": ("fe_h_err", 0.1),
        "ALPHA_M": ("alpha_m_err", 0.03), "C_FE": ("c_fe_err", 0.2), "N_FE": ("n_fe_err", 0.2),
    }  # fmt: skip
    truth = {
        "TEFF": (teff, 85.0), "LOGG": (stars.logg[index], 0.05), "M_H": (feh, 0.008),
        "ALPHA_M": (alpha, 0.008), "FE_H": (feh, 0.010), "C_FE": (carbon, 0.015), "N_FE": (nitrogen, 0.025),
    }  # fmt: skip
    columns: dict[str, np.ndarray] = {}
    # ASPCAP gives no labels outside its grid, and often no [C/Fe] and [N/Fe] for metal-poor stars
    failed = (fault == "missing") | (feh < -2.5)
    for name, (value, typical) in truth.items():
        growth = np.sqrt(weak) if name in ("TEFF", "LOGG") else weak
        error = typical * noise * growth * np.exp(0.15 * rng.standard_normal(m))
        if name in ("TEFF", "LOGG"):
            # calibrated: mostly a floor
            error = typical * np.exp(0.1 * rng.standard_normal(m)) * np.sqrt(0.7 + 0.3 * noise**2)
        if name in faults_of:
            label, limit = faults_of[name]
            error = np.where(fault == label, limit * rng.uniform(1.1, 2.0, m), error)
        if name == "C_FE":
            error = np.where(fault == "c_fe_label", rng.uniform(0.06, 0.15, m), error)
        if name == "N_FE":
            error = np.where(fault == "n_fe_label", rng.uniform(0.09, 0.18, m), error)
        measured = value + error * rng.standard_normal(m)
        gone = failed.copy()
        if name in ("C_FE", "N_FE"):
            gone |= (feh < -1.8) & (rng.random(m) < 0.3)
        columns[name] = np.where(gone, -9999.0, measured).astype(np.float32)
        columns[f"{name}_ERR"] = np.where(gone, -9999.0, error).astype(np.float32)

    harmless = np.array(HARMLESS_FLAGS)
    flag = np.where(rng.random(m) < 0.25, harmless[rng.integers(0, harmless.size, m)], 0)
    # each of them at least once, as long as there are good stars
    plain = np.flatnonzero((fault == "") & ~second)
    for k, value in zip(plain, HARMLESS_FLAGS, strict=False):
        flag[k] = value
    flag = np.where(fault == "star_warn", flag | STAR_WARN, flag)
    flag = np.where(fault == "star_bad", flag | STAR_BAD, flag)
    flag = np.where(feh < -2.5, flag | STAR_BAD, flag)
    target = np.where(second, EXTRATARG_DUPLICATE, np.where(rng.random(m) < 0.1, 1, 0))
    ids = source_id(index.astype(np.int64))
    # DR16 has the source_id of Gaia DR2, which a few stars have lost since
    lost = rng.random(m)
    ids = np.where(lost < 0.01, 0, np.where(lost < 0.04, np.asarray(ids) + 1_234_567, ids))
    near = twomass.iloc[index]
    result: dict[str, np.ndarray] = {
        "APOGEE_ID": np.array([f"2M{name}" for name in near["designation"]], dtype="S18"),
        "TELESCOPE": np.full(m, b"apo25m", dtype="S8"),
        "RA": near["ra"].to_numpy(),
        "DEC": near["dec"].to_numpy(),
    }
    for band in "jhk":
        result[band.upper()] = near[f"{band}_m"].to_numpy().astype(np.float32)
        error = near[f"{band}_msigcom"].fillna(-9999.99).to_numpy()
        result[f"{band.upper()}_ERR"] = error.astype(np.float32)
    result["NVISITS"] = rng.integers(1, 8, m).astype(np.int32)
    result["SNR"] = snr.astype(np.float32)
    result["STARFLAG"] = np.where(rng.random(m) < 0.1, 1 << 3, 0).astype(np.int64)
    result["EXTRATARG"] = target.astype(np.int32)
    result["VHELIO_AVG"] = (stars.rv[index] + 0.1 * rng.standard_normal(m)).astype(np.float32)
    result["GAIA_SOURCE_ID"] = ids.astype(np.int64)
    result["ASPCAPFLAG"] = flag.astype(np.int64)
    result |= columns
    # allStar is sorted by position, so the two rows of a star are adjacent
    order = np.lexsort((second, result["APOGEE_ID"]))
    return pd.DataFrame({name: value[order] for name, value in result.items()})


def references(seed: int) -> pd.DataFrame:
    """The literature: each reference's offsets `Teff logg [Fe/H]` and a factor on its errors."""
    rng = np.random.default_rng([seed, 19])
    rows = []
    for k in range(N_REFERENCES):
        year, volume, page = (
            rng.integers(1992, 2020),
            rng.integers(10, 900),
            rng.integers(100, 9999),
        )
        rows.append(
            {
                "Author": f"Simulated{k + 1:02d}",
                "bibcode": f"{year}Simul.{volume:.>3d}.{page:.>4d}{chr(65 + k)}",
                **{name: size * rng.standard_normal() for name, size in REFERENCE_OFFSET.items()},
                "factor": rng.uniform(0.5, 1.3),
                # a share of the literature has temperatures only
                "teff_only": k >= N_REFERENCES - 3,
                "quotes_errors": rng.random() < 0.75,
            }
        )
    return pd.DataFrame(rows)


PASTEL_COLUMNS = (
    (
        "_RAJ2000", "_DEJ2000", "ID", "Bmag", "Vmag", "Jmag", "Hmag", "Ksmag", "Teff", "e_Teff", "logg", "e_logg",
        "[Fe/H]", "e_[Fe/H]", "Author", "bibcode",
    ),
    (
        "deg", "deg", "", "mag", "mag", "mag", "mag", "mag", "K", "K", "[cm/s2]", "[cm/s2]", "[Sun]", "[Sun]", "", "",
    ),
)  # fmt: skip


def pastel_table(
    rng: np.random.Generator,
    stars: Stars,
    magnitudes: dict[str, np.ndarray],
    literature: pd.DataFrame,
) -> pd.DataFrame:
    """PASTEL: one row per measurement, one to six per star, each by a different reference."""
    n = stars.teff.size
    inside = (stars.teff > 3500) & (stars.teff < 10000)
    seen = np.flatnonzero((stars.sample == "pastel") | (inside & (rng.random(n) < PASTEL_SHARE)))
    full = np.flatnonzero(~literature["teff_only"].to_numpy())
    bare = np.flatnonzero(literature["teff_only"].to_numpy())
    rows = []
    offsets = {name: literature[name].to_numpy() for name in REFERENCE_OFFSET}
    factor = literature["factor"].to_numpy()
    decimals = {"Teff": 0, "logg": 2, "[Fe/H]": 2}
    for i in seen:
        count = int(rng.choice(6, p=[0.40, 0.25, 0.15, 0.10, 0.06, 0.04])) + 1
        if stars.fault[i] == "teff_only":
            chosen = rng.choice(bare, min(count, bare.size), replace=False)
        else:
            # the first has everything
            later = rng.choice(np.concatenate([full, bare]), count, replace=False)
            head = rng.choice(full)
            chosen = np.concatenate([[head], later[later != head][: count - 1]])
        # errors in the literature are larger for cool, hot and metal-poor stars
        hard = (
            1.0
            + 0.6 * (stars.teff[i] < 4200)
            + 0.8 * (stars.teff[i] > 7500)
            + 0.4 * (stars.feh[i] < -2)
        )
        truth = {"Teff": stars.teff[i], "logg": stars.logg[i], "[Fe/H]": stars.feh[i]}
        name = _pastel_id(rng, int(i), float(stars.dec[i]))
        first = {
            "_RAJ2000": f"{stars.ra[i]:.5f}",
            "_DEJ2000": f"{stars.dec[i]:+.5f}",
            "ID": name,
            **{
                column: f"{magnitudes[key][i] + 0.01 * rng.standard_normal():.3f}"
                for column, key in (
                    ("Bmag", "abs_mag_b_apass"), ("Vmag", "abs_mag_v_apass"), ("Jmag", "abs_mag_j"),
                    ("Hmag", "abs_mag_h"), ("Ksmag", "abs_mag_ks"),
                )
            },
        }  # fmt: skip
        for k in chosen:
            row = dict(first)
            for label, value in truth.items():
                error = MEASUREMENT_ERROR[label] * factor[k] * hard
                noise = rng.standard_normal()
                if label != "Teff" and literature["teff_only"].iloc[k]:
                    row[label] = row[f"e_{label}"] = ""
                    continue
                places = decimals[label]
                row[label] = f"{value + offsets[label][k] + error * noise:.{places}f}"
                row[f"e_{label}"] = (
                    f"{error:.{places}f}" if literature["quotes_errors"].iloc[k] else ""
                )
            row["Author"], row["bibcode"] = (
                literature["Author"].iloc[k],
                literature["bibcode"].iloc[k],
            )
            rows.append(row)
    return pd.DataFrame(rows, columns=list(PASTEL_COLUMNS[0]), dtype=object)


def _pastel_id(rng: np.random.Generator, star: int, dec: float) -> str:
    """The kinds of names that stars have there."""
    zone = f"{'-' if dec < 0 else '+'}{int(abs(dec)):02d}"
    kinds: Sequence[Callable[[], str]] = (
        lambda: f"HD {300000 + star}",
        lambda: f"BD{zone} {1000 + star}",
        lambda: f"TYC {star % 9500 + 1}-{star % 1800 + 1}-1",
        lambda: f"Cl* SIM {1 + star % 90} {star}",
    )
    return kinds[int(rng.choice(4, p=[0.5, 0.25, 0.2, 0.05]))]()

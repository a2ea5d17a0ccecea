"""Why a spectrum has no labels of a system, or is not in the catalogue."""

REASONS: dict[str, str] = {
    # survey
    "not_a_star": "CLASS in the catalogue is not one of survey.classes",
    "no_spectral_type": "SUBCLASS belongs to none of the groups OB A F G K M",
    "type_not_selected": "the spectral-type group is not in survey.types",
    "low_snr": "S/N in survey.snr_band is below the threshold of its type, or missing",
    "duplicate_spectrum": "the same spectrum (lmjd-planid-spid-fiberid) stands earlier in the catalogue",
    "duplicate_obsid": "the same obsid stands earlier in the catalogue for another spectrum",
    "bad_identifier": "lmjd, planid, spid or fiberid is missing or not a number",
    "bad_coordinates": "right ascension or declination is missing or outside the sky",
    "bad_redshift": "the redshift is missing, not finite or beyond survey.max_abs_redshift",
    "bad_text": "a text in the catalogue's row is longer than a column of ours holds",
    # prepare
    "missing_file": "the spectrum's file does not exist",
    "replaced_in_archive": "a later file of the tar archive has the same name, and is the one that counts",
    "unreadable_file": "the file cannot be read (permission, input/output error)",
    "empty_file": "the file has no bytes",
    "corrupt_gzip": "the gzip stream is truncated or damaged",
    "not_fits": "the file is not FITS",
    "truncated_fits": "the FITS data end before the header says",
    "unknown_layout": "the HDUs are none of the known LAMOST layouts",
    "missing_column": "the binary table lacks FLUX, IVAR, WAVELENGTH, ANDMASK or ORMASK",
    "missing_keyword": "a keyword that the layout needs is absent from the header",
    "wrong_shape": "the arrays have an impossible size",
    "bad_wavelength": "the wavelengths are not finite, increasing and optical",
    "wavelength_coverage": "the spectrum does not cover the common grid",
    "wrong_spectrum": "the header's identity differs from the catalogue's",
    "wrong_position": "the header's position differs from the catalogue's",
    "wrong_redshift": "the header's redshift differs from the catalogue's",
    "not_vacuum": "the header says that wavelengths are in air",
    "not_heliocentric": "the header says that velocities are not heliocentric",
    "too_large": "the file, or what is packed in it, is larger than any spectrum",
    "nan_flux": "all fluxes are NaN or infinite",
    "zero_flux": "the flux is zero everywhere",
    "no_valid_ivar": "no pixel has a positive, finite inverse variance",
    "negative_continuum": "the running median is negative or zero over most of the range",
    "too_few_pixels": "fewer usable pixels than prepare.min_good_fraction",
    # fit
    "fit_failed": "the fit's equations could not be solved",
    "too_many_outliers": "more pixels are unlike any star than fit.max_outlier_fraction allows",
    # predict
    "no_network": "no network is applied to such a spectrum (network.apply), or none was trained",
}

# By system the reasons why it alone may have no labels, and the catalogue's flag of each. A spectrum
# that no system can label is rejected instead.
REASON_FLAGS: dict[str, dict[str, str]] = {
    "emulator": {
        "wavelength_coverage": "flag_no_fit_coverage",
        "too_few_pixels": "flag_no_fit_pixels",
        "negative_continuum": "flag_no_fit_continuum",
        "fit_failed": "flag_no_fit_failed",
        "too_many_outliers": "flag_no_fit_outliers",
    },
    "networks": {
        "too_few_pixels": "flag_no_net_pixels",
        "negative_continuum": "flag_no_net_continuum",
    },
}


class SpectrumRejected(Exception):
    """One spectrum cannot be used; `reason` is a key of `REASONS`, `detail` says what was found."""

    def __init__(self, reason: str, detail: str = "") -> None:
        if reason not in REASONS:
            raise ValueError(f"unknown rejection reason {reason!r}")
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail

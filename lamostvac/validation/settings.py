"""The configuration's section validation."""

from pydantic import (
    Field,
)

from lamostvac.core.settings import PathText, Section
from lamostvac.library.settings import ComparedLibrary


class Validation(Section):
    """Comparisons of the catalogue with other determinations."""

    enabled: bool = Field(True, description="Write comparisons, pulls and figures.")
    truth: PathText | None = Field(
        None, description="Table of true labels by spectrum_id; a simulated run brings its own."
    )
    comparisons: PathText | None = Field(
        "config/comparisons.yaml",
        description=(
            "YAML file that defines the comparisons with other catalogues (docs/comparisons.md); those whose file is "
            "absent are skipped. null: none."
        ),
    )
    isochrone: PathText | None = Field(
        None,
        description=(
            "Table with the columns teff (K) and bp_rp (mag, intrinsic) of an isochrone that the figure of dereddened "
            "colours shows; null: none."
        ),
    )
    cluster_isochrones: PathText | None = Field(
        None,
        description=(
            "Isochrones that the figures of open clusters show: the text file of the CMD web interface (PARSEC, "
            "stev.oapd.inaf.it/cmd) with the columns MH logAge logTe logg, any ages and metallicities; null: none."
        ),
    )
    libraries: list[ComparedLibrary] = Field(
        default_factory=list,
        description=(
            "Further libraries whose emulators are cross-validated and compared with the run's own (Liang et al. 2024, "
            "Figure 7); each has the keys of the section library, name and spectra at least, and variance if it needs "
            "another than emulator.variance; resolution.survey_fwhm is that of library.resolution unless it is given."
        ),
    )
    libraries_file: PathText | None = Field(
        "config/libraries.yaml",
        description=(
            "YAML file with libraries that are compared besides, those whose files are on disk, in a run on real files "
            "(docs/libraries.md); null: only those of the key libraries."
        ),
    )
    libraries_root: PathText = Field(
        "data", min_length=1, description="Folder that the files of libraries_file are relative to."
    )

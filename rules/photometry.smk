# Which tables of other surveys there are: their magnitudes are joined to every spectrum.

from lamostvac.distance.schema import PhotometryFile, load_photometry

PHOTOMETRY_ROOT = (
    CATALOGUES_ROOT
    if CFG.simulation.enabled or CFG.photometry.root is None
    else CFG.photometry.root
)

with user_errors():
    # Tables that are absent are left out; one sentence each says so.
    PHOTOMETRY, PHOTOMETRY_SKIPPED = (
        load_photometry(shipped(CFG.photometry.file)).present(
            PHOTOMETRY_ROOT,
            produced=(
                [str(path) for path in rules.simulate.output] if CFG.simulation.enabled else []
            ),
        )
        if CFG.photometry.enabled
        else (PhotometryFile(), [])
    )
for sentence in PHOTOMETRY_SKIPPED:
    logger.info(sentence)

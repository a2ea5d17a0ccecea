"""The simulated survey: a small sky in the official file formats, with the truth beside it.

`survey.simulate_survey` writes everything; the modules below it are pure functions of arrays:
`atmosphere` (model atmospheres and continua), `linelist` (lines and bands), `spectrum` (synthesis),
`population` (the stars on the sky), `instrument` (the effects of the spectrograph on a spectrum),
`release` and `mastar` (the writers), `broken` (deliberately invalid files).
"""

VERSION = 2

"""The simulated survey: a small sky in the official file formats, with the truth beside it.

`survey.simulate_survey` writes everything; the modules below it are pure functions of arrays:
`atmosphere` (model atmospheres and continua), `linelist` (lines and bands), `spectrum`
(synthesis), `population` (who is on the sky), `instrument` (what the spectrograph does to a
spectrum), `release` and `mastar` (the writers), `broken` (files that are wrong on purpose).
"""

VERSION = 1

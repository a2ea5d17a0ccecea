"""How the fit of a star ended: the codes of `fit_status`."""

CONVERGED, EDGE, NO_PROGRESS = 0, 1, 2
STATUS_NAMES = ("converged", "edge", "no_progress")

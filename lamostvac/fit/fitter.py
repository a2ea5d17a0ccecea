"""The fit of a set of prepared spectra, to labels with errors.

The survey's stars and the library's own stars in cross-validation are fitted by the same function,
so the code that is tested is the code that is used.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from lamostvac.emulator.model import Emulator
from lamostvac.fit import refine
from lamostvac.fit.likelihood import Condensed, Design, Sums
from lamostvac.fit.lines import LineReader
from lamostvac.fit.outliers import find_outliers, hat_functions
from lamostvac.fit.priors import DensityPrior, prior_intervals
from lamostvac.fit.residuals import Residuals
from lamostvac.fit.settings import FitSettings
from lamostvac.numerics.pivoted_cholesky import pivoted_cholesky
from lamostvac.spectra.grid import GRID

DWARF_LOGG = 3.5  # starts are taken on both sides of it, because chi2 often has a minimum on each
_BATCH = 256  # stars fitted at once; bounds memory
_ANCHORS = 500
_ANCHOR_LENGTH = 0.75  # length scale that spreads the anchors over the library, in scaled labels


@dataclass(frozen=True)
class StarFits:
    """Labels of n stars.

    Attributes
    ----------
    labels, errors, first : (n, d); `first` are those that the fit began with
    noise : (n, d) the part of `errors` that the spectrum's noise and calibration cause
    random : (n, d) the part that is independent from spectrum to spectrum: noise, and errors of
        velocity and line width
    status : (n,) int8, codes of `refine`
    chi2, chi2_first : (n,) sum of squared differences of normalised flux and model over the pixels
        used (Liang+ 2024 equation 2 for one star), at the solution and at `first`
    n_pixels, n_iterations : (n,)
    n_outliers : (n,) pixels that were left out because they are unlike any star
    velocity, velocity_err, variance, variance_err, bound : what `lines.Lines` has
    """

    labels: NDArray[np.float64]
    errors: NDArray[np.float64]
    noise: NDArray[np.float64]
    random: NDArray[np.float64]
    first: NDArray[np.float64]
    status: NDArray[np.int8]
    chi2: NDArray[np.float64]
    chi2_first: NDArray[np.float64]
    n_pixels: NDArray[np.int64]
    n_iterations: NDArray[np.int64]
    n_outliers: NDArray[np.int64]
    velocity: NDArray[np.float64]
    velocity_err: NDArray[np.float64]
    variance: NDArray[np.float64]
    variance_err: NDArray[np.float64]
    bound: NDArray[np.float64]


class StarFitter:
    """An emulator made ready to fit many batches of spectra.

    Parameters
    ----------
    emulator : exact or distilled (`distil`)
    settings : of the fit
    few : for some hundred spectra at most: it is ready sooner and takes less memory, and each
        spectrum takes longer
    """

    def __init__(self, emulator: Emulator, settings: FitSettings, few: bool = False) -> None:
        self.emulator, self.settings = emulator, settings
        self.design = Design(
            emulator,
            settings.flux_floor,
            settings.calibration_scale,
            settings.calibration_error,
            few,
        )
        self.prior = None
        if settings.prior == "density":
            self.prior = DensityPrior(emulator.library_scaled, settings.prior_bandwidth)
        self.low, self.high = refine.box(emulator, settings.max_extrapolation)
        stars = emulator.library_scaled
        rows, _ = pivoted_cholesky(stars, 1.0, _ANCHOR_LENGTH, _ANCHORS, 1e-6)
        self.anchors = stars[rows]
        self._spreads: dict[str, NDArray[np.float32]] = {}

    def fit(
        self,
        flux: NDArray[np.floating],
        ivar: NDArray[np.floating],
        spectral_types: str | NDArray[np.str_],
        starts: NDArray[np.floating] | None = None,
    ) -> StarFits:
        """Fit prepared spectra.

        Parameters
        ----------
        flux, ivar : (n, 4901)
        spectral_types : one for all stars, or (n,); the emulator's error depends on the type
        starts : (n, s, d) labels of s first guesses for each star. By default these are the best
            dwarf and the best giant among some hundred anchors (library stars spread over its
            labels), judged by the objective that is minimised. The prior intervals are centred on
            each start.
        """
        n = len(flux)
        types = np.broadcast_to(np.asarray(spectral_types), (n,))
        parts, places = [self._nothing()], [np.empty(0, dtype=np.int64)]
        d = len(self.emulator.basis)
        factor = np.zeros((min(n, _BATCH), d, d))
        for name in np.unique(types):
            members = np.flatnonzero(types == name)
            for first in range(0, len(members), _BATCH):
                rows = members[first : first + _BATCH]
                own = None if starts is None else np.asarray(starts[rows], dtype=np.float64)
                parts.append(
                    self._fit_batch(flux[rows], ivar[rows], str(name), own, factor[: len(rows)])
                )
                places.append(rows)
        return in_order(join(parts), np.concatenate(places))

    @cached_property
    def _at_anchors(self) -> refine.Points:
        """Emulator and prior at the anchors."""
        return refine.at_points(self.emulator, self.anchors, self.prior)

    @cached_property
    def _sides(self) -> list[NDArray[np.int64]]:
        """Anchors of dwarfs and of giants, if there are any; all anchors if log g is not a
        label.
        """
        everyone = np.arange(len(self.anchors))
        if "logg" not in self.emulator.label_names:
            return [everyone]
        logg = self.emulator.from_scaled(self.anchors)[:, self.emulator.label_names.index("logg")]
        sides = [np.flatnonzero(logg >= DWARF_LOGG), np.flatnonzero(logg < DWARF_LOGG)]
        return [side for side in sides if len(side)]

    def _starts(self, condensed: Condensed) -> NDArray[np.int64]:
        """The best anchors (n, s) of each star, the very best first."""
        at = self._at_anchors
        objective = condensed.chi2_of_each(at.components) + at.value
        best = np.stack([side[objective[:, side].argmin(axis=1)] for side in self._sides], axis=1)
        value = np.take_along_axis(objective, best, axis=1)
        return np.take_along_axis(best, np.argsort(value, axis=1, kind="stable"), axis=1)

    def _fit_batch(
        self,
        flux: NDArray[np.floating],
        ivar: NDArray[np.floating],
        spectral_type: str,
        starts: NDArray[np.float64] | None,
        factor: NDArray[np.float64],
    ) -> StarFits:
        emulator, design = self.emulator, self.design
        n, d = len(flux), len(emulator.label_names)
        sums = design.sums(flux, ivar, spectral_type)
        condensed = design.condense(sums, spectral_type, factor=factor)
        at_start = None
        if starts is None:
            anchors = self._starts(condensed)
            scaled, at_start = self.anchors[anchors], self._at_anchors.take(anchors.ravel())
            first = self._at_anchors.components[anchors[:, 0]]
        else:
            scaled = emulator.to_scaled(starts.reshape(-1, d)).reshape(n, -1, d)
            first = emulator.process.predict(scaled[:, 0])
        per_star = scaled.shape[1]
        stars = np.repeat(np.arange(n), per_star)
        points = scaled.reshape(-1, d)
        low, high = self._limits(points)
        fits = refine.refine(
            emulator,
            condensed,
            stars,
            points,
            low,
            high,
            self.prior,
            self.settings.max_iterations,
            at_start,
        )
        best = refine.best_starts(fits.objective, stars)
        solution, low, high = fits.take(best), low[best], high[best]
        left_out, difference = self._leave_outliers_out(
            sums, condensed, solution, spectral_type, low, high
        )
        used = (sums.weight > 0) & ~left_out
        slope = emulator.label_derivative(solution.scaled)
        beside = self._lines.read(
            spectral_type, sums, difference, left_out, solution.jacobian, slope
        )
        if self.settings.line_width_scatter > 0:
            sums = self._at_own_widths(
                sums, condensed, solution, spectral_type, low, high, left_out, difference
            )
            difference = self._difference(sums.residual, solution.components)
        errors, noise, lines = refine.label_errors(
            emulator, solution, partial(design.covariances, condensed, spectral_type)
        )
        return StarFits(
            labels=emulator.from_scaled(solution.scaled),
            errors=errors,
            noise=noise,
            random=np.minimum(np.hypot(noise, lines), errors),
            first=emulator.from_scaled(scaled[:, 0]),
            status=solution.status,
            chi2=_misfit(difference, used),
            chi2_first=_misfit(self._difference(sums.residual, first), used),
            n_pixels=condensed.n_pixels,
            n_iterations=solution.n_iterations,
            n_outliers=np.count_nonzero(left_out, axis=1),
            **vars(beside),
        )

    def residuals(
        self,
        flux: NDArray[np.floating],
        ivar: NDArray[np.floating],
        labels: NDArray[np.floating],
        spectral_type: str,
    ) -> Residuals:
        """Spectra beside their models at labels that are already known.

        Widths of a spectrum's own lines are found again at these labels, where the fit has such.

        Parameters
        ----------
        flux, ivar : (n, 4901) prepared spectra
        labels : (n, d) in the emulator's order
        spectral_type : of all n stars
        """
        pixels, settings = self.emulator.pixels, self.settings
        sums = self.design.sums(flux, ivar, spectral_type)
        scaled = self.emulator.to_scaled(labels)
        components = self.emulator.process.predict(scaled)
        difference = self._difference(sums.residual, components)
        spread = self._spread(spectral_type)
        left_out = np.zeros(np.shape(flux), dtype=bool)
        if settings.outlier_sigma > 0:
            left_out[:, pixels] = find_outliers(
                difference, sums.weight, spread, settings.outlier_sigma, self._hats
            )
        model, sigma = (np.full(np.shape(flux), np.nan, dtype=np.float32) for _ in range(2))
        model[:, pixels] = (
            self.emulator.mean + components @ self.emulator.basis[: self.emulator.n_signal]
        )
        if settings.line_width_scatter > 0:
            _, jacobian = self.emulator.process.predict_with_jacobian(scaled)
            seen = sums, difference, left_out[:, pixels], jacobian
            model[:, pixels] += self._lines.change(
                spectral_type, *seen, settings.line_width_scatter
            )
        with np.errstate(divide="ignore"):
            sigma[:, pixels] = np.where(
                sums.weight > 0, np.sqrt(1.0 / sums.weight + spread), np.nan
            )
        return Residuals(model, sigma, left_out)

    def _limits(
        self, points: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        low, high = (
            np.broadcast_to(self.low, points.shape),
            np.broadcast_to(self.high, points.shape),
        )
        if self.settings.prior == "intervals":
            nearby = prior_intervals(self.emulator, self.emulator.from_scaled(points))
            low, high = np.maximum(low, nearby[0]), np.minimum(high, nearby[1])
        return low, high

    def _leave_outliers_out(
        self,
        sums: Sums,
        condensed: Condensed,
        solution: refine.Fit,
        spectral_type: str,
        low: NDArray[np.float64],
        high: NDArray[np.float64],
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Find outliers and fit again without them, until the outliers no longer change.

        Every round looks at all pixels. Outliers distort the first model, so that it misses some
        good pixels too; these are used again once the model has improved.

        Returns the pixels left out (n, p), and the differences (n, p) between spectra and models.
        `condensed` and `solution` are changed in place for the stars that have outliers.
        """
        settings = self.settings
        difference = self._difference(sums.residual, solution.components)
        left_out = np.zeros(difference.shape, dtype=bool)
        rows = np.arange(len(left_out))
        for _ in range(settings.outlier_rounds if settings.outlier_sigma > 0 else 0):
            found = find_outliers(
                difference,
                sums.weight,
                self._spread(spectral_type),
                settings.outlier_sigma,
                self._hats,
                rows,
            )
            new = (found != left_out[rows]).any(axis=1)
            rows = rows[new]
            if len(rows) == 0:
                break
            left_out[rows] = found[new]
            self._fit_again(sums, condensed, solution, spectral_type, rows, low, high, left_out)
            difference[rows] = self._difference(sums.residual[rows], solution.components[rows])
        return left_out, difference

    def _at_own_widths(
        self,
        sums: Sums,
        condensed: Condensed,
        solution: refine.Fit,
        spectral_type: str,
        low: NDArray[np.float64],
        high: NDArray[np.float64],
        left_out: NDArray[np.bool_],
        difference: NDArray[np.float32],
    ) -> Sums:
        """Fit again with the widths that the spectra's own lines have (`LineReader.change`).

        Returns the sums of the spectra less what their lines' widths change. `condensed` and
        `solution` are changed in place.
        """
        seen = sums, difference, left_out, solution.jacobian
        change = self._lines.change(spectral_type, *seen, self.settings.line_width_scatter)
        sums = self.design.less(sums, change)
        rows = np.arange(len(change))
        self._fit_again(sums, condensed, solution, spectral_type, rows, low, high, left_out)
        return sums

    def _fit_again(
        self,
        sums: Sums,
        condensed: Condensed,
        solution: refine.Fit,
        spectral_type: str,
        rows: NDArray[np.int64],
        low: NDArray[np.float64],
        high: NDArray[np.float64],
        left_out: NDArray[np.bool_],
    ) -> None:
        """Fit the stars `rows` again from where they are, without the pixels left out (n, p).

        `condensed` and `solution` are changed in place.
        """
        again = self.design.condense(sums, spectral_type, rows, left_out[rows])
        for name in Condensed.__dataclass_fields__:
            getattr(condensed, name)[rows] = getattr(again, name)
        fits = refine.refine(
            self.emulator,
            again,
            np.arange(len(rows)),
            solution.scaled[rows],
            low[rows],
            high[rows],
            self.prior,
            self.settings.max_iterations,
        )
        earlier = solution.n_iterations[rows]
        solution.put(rows, replace(fits, n_iterations=fits.n_iterations + earlier))

    def _difference(
        self, residual: NDArray[np.float32], components: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Spectra less models (n, p)."""
        model = components.astype(np.float32) @ self._signal
        return np.subtract(residual, model, out=model)

    @cached_property
    def _signal(self) -> NDArray[np.float32]:
        return self.emulator.basis[: self.emulator.n_signal].astype(np.float32)

    def _spread(self, spectral_type: str) -> NDArray[np.float32]:
        """Variance (p,) that the emulator's error gives a pixel."""
        if spectral_type not in self._spreads:
            basis, covariance = self.emulator.basis, self.emulator.discrepancy[spectral_type]
            spread = np.vecdot(basis.T @ covariance, basis.T).astype(np.float32)
            self._spreads[spectral_type] = spread
        return self._spreads[spectral_type]

    @cached_property
    def _lines(self) -> LineReader:
        return LineReader(self.emulator)

    @cached_property
    def _hats(self) -> NDArray[np.float32] | None:
        if len(self.design.bumps) == 0:
            return None
        return hat_functions(GRID[self.emulator.pixels], self.settings.calibration_scale)

    def _nothing(self) -> StarFits:
        labels = np.empty((0, len(self.emulator.label_names)))
        numbers, counts = np.empty(0), np.empty(0, np.int64)
        return StarFits(
            labels=labels,
            errors=labels,
            noise=labels,
            random=labels,
            first=labels,
            status=np.empty(0, np.int8),
            chi2=numbers,
            chi2_first=numbers,
            n_pixels=counts,
            n_iterations=counts,
            n_outliers=counts,
            velocity=numbers,
            velocity_err=numbers,
            variance=numbers,
            variance_err=numbers,
            bound=labels,
        )


def _misfit(difference: NDArray[np.float32], used: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(n,) sum of squared differences over the pixels used."""
    counted = difference * used
    return np.vecdot(counted, counted).astype(np.float64)


def join(parts: Sequence[StarFits]) -> StarFits:
    """The stars of several fits in one, in their order."""
    names = StarFits.__dataclass_fields__
    return StarFits(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    )


def in_order(fits: StarFits, places: NDArray[np.int64]) -> StarFits:
    """The stars of `fits` in the order of their `places` (n,)."""
    order = np.argsort(places, kind="stable")
    return StarFits(**{name: getattr(fits, name)[order] for name in StarFits.__dataclass_fields__})

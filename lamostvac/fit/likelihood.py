"""Spectra condensed to what the fit of labels needs: a small quadratic form for each star.

The spectrum of a star on its usable pixels is taken as

    flux = mean + basis' (f(labels) + e) + bumps' c + noise

with f the emulator, e its error (covariance `discrepancy` of the star's type), c a smooth error of
the survey's flux calibration (independent amplitudes of overlapping bumps) and noise of each pixel.
Errors of the emulator and of the calibration are correlated over many pixels; a chi2 that treats
pixels as independent would take them for information on the labels (docs/method.md has what each
term does on real spectra). Integrating e and c out leaves

    chi2(labels) = (y - basis' f)' C^-1 (y - basis' f) = constant - 2 f'g + f'Q f

with C the sum of the three covariances, and one matrix Q and vector g for each star, exact for its
own mask and noise. After that the fit needs no pixel any more.

Cost. Nearly all of it is W = sum over pixels of weight times (basis row)(basis row)' for each star.
The products of basis rows are the same for all stars, so they are kept in a table, and W of many
stars is one matrix product of their weights with that table. Only the lower triangle is computed,
and the product runs at the machine's full rate in single precision. The table of 174 directions has
230 MB, which do not pay for a few stars: these get W one by one. The bumps are local, so their
tables are small. The emulator's error is integrated out in double precision, the calibration's in
that of the sums.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dsyrk, ssyrk
from scipy.linalg.lapack import dpotrf, dtrtrs, spotrf, strtrs

from lamostvac.emulator.model import Emulator
from lamostvac.spectra.grid import GRID

_MAX_IVAR = 1e10  # of normalised flux; larger values would make matrices singular
_ROWS = 64  # a multiple of the rows that a kernel of BLAS takes at once
_BUMP_END = 1e-3  # a bump ends where it is below this share of its height


@dataclass(frozen=True)
class Condensed:
    """Spectra of n stars as the fit sees them: chi2 = constant - 2 f'g + f'Q f.

    Attributes
    ----------
    q : (n, r, r)
    g : (n, r)
    constant : (n,)
    n_pixels : (n,) pixels used
    factor : (n, d, d) lower triangles L of the normal equations of d directions, L L' = A + P with
        P the precision of the emulator's error; `Design.covariances` needs them
    half : (n, r, d) the first r rows of P times L'^-1
    """

    q: NDArray[np.float64]
    g: NDArray[np.float64]
    constant: NDArray[np.float64]
    n_pixels: NDArray[np.int64]
    factor: NDArray[np.float64]
    half: NDArray[np.float64]

    def chi2(
        self, components: NDArray[np.float64], rows: NDArray[np.integer]
    ) -> NDArray[np.float64]:
        """chi2 (m,) of model components (m, r) for the stars `rows` (m,)."""
        quadratic = np.vecdot(np.matvec(self.q[rows], components), components)
        return np.asarray(
            self.constant[rows] - 2.0 * np.vecdot(components, self.g[rows]) + quadratic
        )

    def chi2_of_each(self, components: NDArray[np.float64]) -> NDArray[np.float64]:
        """chi2 (n, m) of every star with each of m models (m, r)."""
        i, j = np.tril_indices(components.shape[1])
        products = components[:, i] * components[:, j] * np.where(i == j, 1.0, 2.0)
        quadratic = self.q[:, i, j] @ products.T
        return np.asarray(self.constant[:, None] - 2.0 * self.g @ components.T + quadratic)


@dataclass(frozen=True)
class Sums:
    """Weighted sums over the pixels of n stars; A and b of their normal equations in pieces.

    Attributes
    ----------
    pairs : (n, d (d + 1) / 2) float32, sums of products of basis rows, lower triangle by rows
    bump_basis : (n, b, d) float32, sums of products of bumps and basis rows
    bump_bump : (n, b, b) float32, of bumps; the lower triangle
    basis_flux, bump_flux : (n, d), (n, b) sums of residual flux times basis rows and bumps
    square : (n,) sum of squares of the residual flux
    n_pixels : (n,) pixels with a weight
    weight : (n, p) float32, 1 / variance of the pixels, 0 where masked
    residual : (n, p) float32, flux less the emulator's mean
    """

    pairs: NDArray[np.float32]
    bump_basis: NDArray[np.float32]
    bump_bump: NDArray[np.float32]
    basis_flux: NDArray[np.float64]
    bump_flux: NDArray[np.float64]
    square: NDArray[np.float64]
    n_pixels: NDArray[np.int64]
    weight: NDArray[np.float32]
    residual: NDArray[np.float32]


def calibration_bumps(wave: NDArray[np.float64], spacing: float) -> NDArray[np.float64]:
    """Gaussian bumps (b, p) every `spacing` A with a standard deviation of 0.8 spacings.

    Neighbours overlap enough for their sum to follow any curve that is smooth on the scale of the
    spacing. A bump ends where it is 1e-3 of its height.
    """
    centres = np.arange(wave[0] - spacing, wave[-1] + 2 * spacing, spacing)
    bumps = np.exp(-0.5 * ((wave - centres[:, None]) / (0.8 * spacing)) ** 2)
    bumps = np.where(bumps > _BUMP_END, bumps, 0.0)
    return bumps[bumps.any(axis=1)]


class Design:
    """The tables of an emulator from which spectra are condensed; made once for many spectra.

    Parameters
    ----------
    emulator : d basis rows, the first r of them those of the emulated spectra
    flux_floor : standard deviation added to the noise of every pixel
    calibration_scale : spacing of the bumps, A; 0 leaves them out
    calibration_error : standard deviation of a bump's amplitude; 0 leaves them out
    few : for some hundred stars at most: no table of products of basis rows is made
    """

    def __init__(
        self,
        emulator: Emulator,
        flux_floor: float,
        calibration_scale: float,
        calibration_error: float,
        few: bool = False,
    ) -> None:
        self.emulator = emulator
        self.bumps = np.empty((0, np.count_nonzero(emulator.pixels)))
        if calibration_scale > 0 and calibration_error > 0:
            self.bumps = calibration_bumps(GRID[emulator.pixels], calibration_scale)
        self._bump_precision = 1.0 / calibration_error**2 if len(self.bumps) else 0.0
        self._floor = {
            name: (flux_floor**2 + truncation).astype(np.float32)
            for name, truncation in emulator.truncation.items()
        }
        # The emulator's pixels are a few runs of the grid's: where each stands among them, and on
        # the grid.
        inside = np.concatenate([[0], emulator.pixels.astype(np.int8), [0]])
        ends = np.flatnonzero(np.diff(inside)).reshape(-1, 2).tolist()
        self._runs, done = [], 0
        for start, stop in ends:
            self._runs.append((slice(done, done + stop - start), slice(start, stop)))
            done += stop - start
        self._precision: dict[str, NDArray[np.float64]] = {}
        basis = emulator.basis.astype(np.float32)
        self._rows = np.concatenate([basis, self.bumps.astype(np.float32)])
        self._pairs: NDArray[np.float32] | None = None
        if not few:
            i, j = np.tril_indices(len(basis))
            self._pairs = basis[i]
            self._pairs *= basis[j]
        self._local = [self._bump_table(bump) for bump in range(len(self.bumps))]

    def _bump_table(self, bump: int) -> tuple[slice, slice, NDArray[np.float32]]:
        """Pixels of a bump, the bumps from this one on that overlap it, its products with the
        rows.
        """
        d = len(self.emulator.basis)
        inside = np.flatnonzero(self.bumps[bump])
        pixels = slice(int(inside[0]), int(inside[-1]) + 1)
        last = int(np.flatnonzero(self.bumps[:, pixels].any(axis=1))[-1])
        near = slice(bump, last + 1)
        rows = np.concatenate([self._rows[:d, pixels], self._rows[d:][near, pixels]])
        return pixels, near, rows * self._rows[d + bump, pixels]

    def _pair_sums(self, weight: NDArray[np.float32], n: int) -> NDArray[np.float32]:
        """`Sums.pairs` of the first n of weights (m, p)."""
        if self._pairs is not None:
            return np.asarray((weight @ self._pairs.T)[:n])
        d = len(self.emulator.basis)
        i, j = np.tril_indices(d)
        result = np.empty((n, len(i)), dtype=np.float32)
        scaled = np.empty((d, weight.shape[1]), dtype=np.float32)
        for own, root in zip(result, np.sqrt(weight[:n]), strict=True):
            np.multiply(self._rows[:d], root, out=scaled)
            own[:] = ssyrk(1.0, scaled.T, trans=1)[j, i]
        return result

    def precision(self, spectral_type: str) -> NDArray[np.float64]:
        """(d, d) inverse of the covariance of the emulator's error for a type."""
        if spectral_type not in self._precision:
            inverse = np.linalg.inv(self.emulator.discrepancy[spectral_type])
            self._precision[spectral_type] = np.asarray(inverse, dtype=np.float64)
        return self._precision[spectral_type]

    def sums(
        self, flux: NDArray[np.floating], ivar: NDArray[np.floating], spectral_type: str
    ) -> Sums:
        """Sums over the pixels of normalised spectra.

        Parameters
        ----------
        flux, ivar : (n, 4901) prepared spectra; ivar 0 masks
        spectral_type : of all n stars
        """
        n, p = len(flux), len(self.emulator.mean)
        # Empty rows make the number of stars a multiple of what BLAS takes at once. With most BLAS
        # kernels a star's sums are then the same to the last bit, whichever other stars are in the
        # batch (docs/reproducibility.md).
        padded = -(-n // _ROWS) * _ROWS
        weight = np.zeros((padded, p), dtype=np.float32)
        residual = np.zeros((padded, p), dtype=np.float32)
        weighted = np.empty_like(residual)
        for first in range(0, padded, _ROWS):
            rows = slice(first, first + _ROWS)
            self._fill(flux[rows], ivar[rows], spectral_type, weight[rows], residual[rows])
            np.multiply(weight[rows], residual[rows], out=weighted[rows])
        d = len(self.emulator.basis)
        linear = self._linear(weighted, n)
        b = len(self.bumps)
        bump_basis = np.empty((n, b, d), dtype=np.float32)
        bump_bump = np.zeros((n, b, b), dtype=np.float32)
        for bump, (inside, near, table) in enumerate(self._local):
            values = (weight[:, inside] @ table.T)[:n]
            bump_basis[:, bump] = values[:, :d]
            bump_bump[:, near, bump] = values[:, d:]
        return Sums(
            pairs=self._pair_sums(weight, n),
            bump_basis=bump_basis,
            bump_bump=bump_bump,
            basis_flux=linear[:, :d],
            bump_flux=linear[:, d:],
            square=np.vecdot(weighted, residual)[:n].astype(np.float64),
            n_pixels=np.count_nonzero(weight[:n], axis=1),
            weight=weight[:n],
            residual=residual[:n],
        )

    def _linear(self, weighted: NDArray[np.float32], n: int) -> NDArray[np.float64]:
        """Sums of basis rows and bumps times the first n of weighted residuals (m, p)."""
        return np.asarray((weighted @ self._rows.T)[:n].astype(np.float64))

    def less(self, sums: Sums, change: NDArray[np.float32]) -> Sums:
        """The sums that the spectra less `change` (n, p) would have; they share what is the same."""
        n, p = change.shape
        residual = np.where(sums.weight > 0, sums.residual - change, np.float32(0.0))
        weighted = np.zeros((-(-n // _ROWS) * _ROWS, p), dtype=np.float32)  # as in `sums`
        np.multiply(sums.weight, residual, out=weighted[:n])
        d = len(self.emulator.basis)
        linear = self._linear(weighted, n)
        return replace(
            sums,
            basis_flux=linear[:, :d],
            bump_flux=linear[:, d:],
            square=np.vecdot(weighted[:n], residual).astype(np.float64),
            residual=residual,
        )

    def _fill(
        self,
        flux: NDArray[np.floating],
        ivar: NDArray[np.floating],
        spectral_type: str,
        weight: NDArray[np.float32],
        residual: NDArray[np.float32],
    ) -> None:
        """Weights and residuals of m spectra (m, 4901) into the first rows of arrays (m', p)."""
        m = len(flux)
        for place, run in self._runs:
            np.minimum(
                ivar[:, run], np.float32(_MAX_IVAR), out=weight[:m, place], casting="same_kind"
            )
            np.subtract(
                flux[:, run],
                self.emulator.mean[place],
                out=residual[:m, place],
                casting="same_kind",
            )
        # 1 / (1 / ivar + floor), which is 0 where ivar is.
        weight /= 1.0 + weight * self._floor[spectral_type]
        np.copyto(residual, np.float32(0.0), where=weight == 0)  # masked pixels may hold any value

    def condense(
        self,
        sums: Sums,
        spectral_type: str,
        rows: NDArray[np.integer] | None = None,
        left_out: NDArray[np.bool_] | None = None,
        factor: NDArray[np.float64] | None = None,
    ) -> Condensed:
        """Integrate the errors of emulator and calibration out.

        Parameters
        ----------
        rows : (m,) of the stars wanted; all by default
        left_out : (m, p) pixels whose contribution is subtracted from the sums
        factor : (m, d, d) memory for that of the result, which an earlier result may have had; new
            memory takes longer to write to
        """
        pairs = sums.pairs if rows is None else sums.pairs[rows]
        rows = np.arange(len(sums.square)) if rows is None else rows
        n, d, b, r = len(rows), len(self.emulator.basis), len(self.bumps), self.emulator.n_signal
        precision = self.precision(spectral_type)
        factor = np.zeros((n, d, d)) if factor is None else factor
        half = np.empty((n, r + 1, d))
        first = 0
        for i in range(d):
            row = slice(first, first + i + 1)
            np.add(pairs[:, row], precision[i, : i + 1], out=factor[:, i, : i + 1])
            first += i + 1
        constant, n_pixels = sums.square[rows], sums.n_pixels[rows]
        right = np.empty((d, r + 1), order="F")
        right[:, :r] = precision[:, :r]
        bump_right = np.empty((b, d + 1), dtype=np.float32, order="F")
        for place, star in enumerate(rows):
            a, flux = factor[place], sums.basis_flux[star]
            bump_bump = sums.bump_bump[star].copy()
            bump_right[:, :d], bump_right[:, d] = sums.bump_basis[star], sums.bump_flux[star]
            if left_out is not None and left_out[place].any():
                out = np.flatnonzero(left_out[place])
                design = self._rows[:, out]
                weighted = design * sums.weight[star, out]
                residual = sums.residual[star, out]
                product = weighted @ design.T
                a -= product[:d, :d]
                bump_right[:, :d] -= product[d:, :d]
                bump_bump -= product[d:, d:]
                flux = flux - weighted[:d] @ residual
                bump_right[:, d] -= weighted[d:] @ residual
                constant[place] -= sums.weight[star, out] @ residual**2
                n_pixels[place] -= np.count_nonzero(sums.weight[star, out])
            if b:
                bump_bump.flat[:: b + 1] += self._bump_precision
                # In the precision of the sums, whose rounding this does not add to.
                bumps = _whitened(bump_bump, bump_right)
                inner = (ssyrk if bumps.dtype == np.float32 else dsyrk)(1.0, bumps, trans=1)
                a -= inner[:d, :d].T
                flux = flux - inner[:d, d]
                constant[place] -= inner[d, d]
            right[:, r] = flux
            half[place] = _whitened(a, right).T
        # With v = f + e the whole spectrum, chi2 = v'Av - 2 v'b + (v - f)'P(v - f). Integrating v
        # out leaves Q = P - P K P and g = P K b with K = (A + P)^-1.
        inner = half @ half.swapaxes(1, 2)
        result = Condensed(
            q=precision[:r, :r] - inner[:, :r, :r],
            g=inner[:, :r, r].copy(),
            constant=constant - inner[:, r, r],
            n_pixels=n_pixels,
            factor=factor,
            half=half[:, :r],
        )
        nothing = n_pixels == 0  # without pixels the sums hold rounding errors
        for values in (result.q, result.g, result.constant):
            values[nothing] = 0.0
        return result

    def covariances(
        self, condensed: Condensed, spectral_type: str, filters: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Covariances that single causes give to linear functions of g, both (n, m, m).

        The first is what noise and calibration alone give, the second what errors of velocity and
        line width do.

        Parameters
        ----------
        filters : (n, m, r) coefficients of m functions of g
        """
        precision, lines = self.precision(spectral_type), self.emulator.lines[spectral_type]
        r = self.emulator.n_signal
        # g = P K b. b has the covariance A = K^-1 - P, so g has P K P - P K P K P; and an error e
        # moves g by Q e = (P - P K P) e.
        half = filters @ condensed.half
        solved = np.empty_like(half)  # rows of the filters times P K
        for place, factor in enumerate(condensed.factor):
            solved[place] = dtrtrs(factor.T, half[place].T, lower=0)[0].T
        back = solved @ precision
        noise = half @ half.swapaxes(1, 2) - back @ solved.swapaxes(1, 2)
        moved = filters @ precision[:r] - back
        result = noise, moved @ lines @ moved.swapaxes(1, 2)
        for values in result:
            values[condensed.n_pixels == 0] = 0.0
        return result


def _whitened(matrix: NDArray[np.floating], right: NDArray[np.floating]) -> NDArray[np.floating]:
    """L^-1 right for matrix = L L', positive definite; a matrix of doubles becomes L.

    What single precision cannot factorise is computed in double precision. Calls LAPACK directly:
    at this size SciPy's wrappers take as long as the computation.
    """
    # The upper triangle of the transpose in Fortran's order is the lower one here.
    if matrix.dtype == np.float32:
        factor, failed = spotrf(matrix.T, lower=0, clean=0)
        if not failed:
            return np.asarray(strtrs(factor, right, lower=0, trans=1)[0])
        matrix = matrix.astype(np.float64)
    factor, failed = dpotrf(matrix.T, lower=0, clean=0, overwrite_a=1)
    if failed:
        raise np.linalg.LinAlgError("a matrix of the normal equations is not positive definite")
    return np.asarray(dtrtrs(factor, right, lower=0, trans=1)[0])

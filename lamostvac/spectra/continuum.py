"""Running medians, and spectra divided by a pseudo-continuum; both pipelines normalise with these."""

import bottleneck
import numpy as np
from numpy.typing import NDArray

from lamostvac.spectra import native


def running_median(
    flux: NDArray[np.floating], good: NDArray[np.bool_], window: int
) -> NDArray[np.float64]:
    """Median of the good pixels within `window` pixels centred on each pixel (last axis).

    At the ends the window is cut off, not mirrored. NaN where a window holds no good pixel.
    """
    half = window // 2
    if library := native.compiled():
        return native.running_median(library, np.where(good, flux, np.nan), half)
    n = flux.shape[-1]
    # Bottleneck's windows end at their pixel and are cut off at the beginning; it needs at least
    # one full window.
    padded = np.full((*flux.shape[:-1], max(n, half + 1) + half), np.nan)
    np.copyto(padded[..., :n], flux, where=good)
    medians = bottleneck.move_median(padded, 2 * half + 1, min_count=1, axis=-1)
    return np.asarray(medians[..., half : half + n])


def divide(
    flux: NDArray[np.float64],
    ivar: NDArray[np.float64],
    continuum: NDArray[np.float64],
    limits: tuple[float, float],
    replacement: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32], tuple[int, int, int]]:
    """A spectrum over its pseudo-continuum, as far as it is believed.

    A pixel is usable where the continuum is above 0, the pixel has information and the normalised
    flux lies within the limits. Values that float32 cannot hold, or holds only as 0, have no
    information.

    Parameters
    ----------
    flux, ivar, continuum : (n,); NaN where there is no continuum
    limits : least and largest normalised flux
    replacement : (n,) or (1,), what pixels that are not usable get as flux

    Returns
    -------
    flux, ivar : (n,), with ivar 0 where not usable
    counts : of pixels with ivar above 0, of those of them with a continuum, of usable ones
    """
    low, high = limits
    if library := native.compiled():
        return native.divide(library, (flux, ivar, continuum), (low, high), replacement)
    positive = np.isfinite(continuum) & (continuum > 0)
    scale = np.where(positive, continuum, 1.0)
    with np.errstate(over="ignore"):
        normalised = (flux / scale).astype(np.float32)
        information = (ivar * scale**2).astype(np.float32)
    usable = positive & (normalised >= low) & (normalised <= high)
    usable &= np.isfinite(information) & (information > 0)
    good = ivar > 0
    return (
        np.where(usable, normalised, replacement),
        np.where(usable, information, np.float32(0.0)),
        (int(good.sum()), int((good & positive).sum()), int(usable.sum())),
    )

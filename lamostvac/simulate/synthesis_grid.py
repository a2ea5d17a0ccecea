"""The wavelengths of the synthesis; conversion to a spectrograph's resolution and wavelengths."""

import numpy as np

from lamostvac.simulate.constants import SPEED_OF_LIGHT

# The grid of the synthesis: half a LAMOST pixel, 34.5 km/s
LOG_STEP = 0.5e-4
LOG_WAVE = np.arange(np.log10(3560.0), np.log10(10480.0), LOG_STEP)
WAVE = 10.0**LOG_WAVE
STEP_VELOCITY = SPEED_OF_LIGHT * np.log(10) * LOG_STEP
# Weak lines are Gaussians of this width; `broaden` subtracts it from the line-spread function
INTRINSIC_SIGMA = 40.0  # km/s


def broaden(
    flux: np.ndarray, sigma_blue: np.ndarray, sigma_red: np.ndarray, rv: np.ndarray
) -> np.ndarray:
    """Doppler shift and Gaussian line-spread function on the native grid.

    flux (n, WAVE.size); sigma_blue, sigma_red: standard deviation of the line-spread function in
    km/s at 4000 and 8500 A (n,), linear in log wavelength between; rv in km/s (n,). Stellar
    rotation is added by the caller in quadrature. Returns float32 of the same shape.
    """
    n_fft = 10240 if WAVE.size < 10000 else int(2 ** np.ceil(np.log2(WAVE.size + 400)))
    pad = n_fft - WAVE.size
    # a linear bridge avoids ringing between the two ends
    bridge = np.linspace(0, 1, pad + 2, dtype=np.float32)[1:-1]
    padded = np.concatenate([flux, flux[:, -1:] * (1 - bridge) + flux[:, :1] * bridge], axis=1)
    spectrum = np.fft.rfft(padded, axis=1)
    frequency = np.fft.rfftfreq(n_fft)[None, :]
    shift = np.log10(1 + np.asarray(rv) / SPEED_OF_LIGHT)[:, None] / LOG_STEP
    spectrum = spectrum * np.exp(-2j * np.pi * frequency * shift)
    ends = []
    for sigma in (sigma_blue, sigma_red):
        pixels2 = (
            np.maximum(np.asarray(sigma) ** 2 - INTRINSIC_SIGMA**2, 0.0)[:, None] / STEP_VELOCITY**2
        )
        kernel = np.exp(-2 * np.pi**2 * frequency**2 * pixels2)
        ends.append(
            np.fft.irfft(spectrum * kernel, n_fft, axis=1)[:, : WAVE.size].astype(np.float32)
        )
    weight = (
        ((LOG_WAVE - np.log10(4000.0)) / (np.log10(8500.0) - np.log10(4000.0)))
        .clip(-0.1, 1.2)
        .astype(np.float32)
    )
    return ends[0] * (1 - weight) + ends[1] * weight


def resample(flux: np.ndarray, wave: np.ndarray) -> np.ndarray:
    """Cubic interpolation (Catmull-Rom) of native-grid spectra (n, WAVE.size) at `wave` (w,):
    (n, w).
    """
    position = (np.log10(wave) - LOG_WAVE[0]) / LOG_STEP
    i = np.clip(position.astype(int), 1, LOG_WAVE.size - 3)
    f = (position - i).astype(np.float32)
    w0 = f * (-0.5 + f * (1 - 0.5 * f))
    w1 = 1 + f * f * (-2.5 + 1.5 * f)
    w2 = f * (0.5 + f * (2 - 1.5 * f))
    w3 = f * f * (-0.5 + 0.5 * f)
    return np.asarray(
        flux[:, i - 1] * w0 + flux[:, i] * w1 + flux[:, i + 1] * w2 + flux[:, i + 2] * w3,
        dtype=np.float32,
    )

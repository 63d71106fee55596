"""Metrics of the pictures alone: spectrum, bounds, smoothness, repetition. NumPy only.

Shapes: N images, H rows, W columns, C channels. Images are floats in (0, 1), black to white.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from actmax import checks

__all__ = [
    "high_frequency_ratio",
    "radial_amplitude",
    "repetition",
    "saturation",
    "spectrum_distance",
    "spectrum_slope",
    "total_variation",
]

Array = npt.NDArray[np.float64]

# Cycles per pixel: below lies the window's own width, above the corners of the Nyquist square.
_LOWEST_CYCLES = 1.5
_HIGHEST = 0.4
_HIGH = 0.25
_TINY = 1e-12


def radial_amplitude(images: npt.ArrayLike) -> tuple[Array, Array]:
    """Amplitude spectrum over rings of equal frequency. `[N, H, W, C] -> [R], [N, R]`.

    The mean is removed and a Hann window applied, as pictures are not periodic; amplitudes are root
    mean squares over the ring and the channels. Rings are one cycle per image wide, from 1.5 cycles
    per image to 0.4 cycles per pixel.

    Returns:
        Frequencies in cycles per pixel, and amplitudes.

    Raises:
        ValueError: images are not `[N, H, W, C]`, or smaller than 8 pixels.

    Example:
        >>> frequency, amplitude = radial_amplitude(np.random.default_rng(0).random((2, 16, 16, 1)))
        >>> amplitude.shape == (2, len(frequency))
        True
    """
    pictures = _images(images)
    power, frequency = _power(pictures)
    size = min(pictures.shape[1:3])
    edges = np.arange(_LOWEST_CYCLES, _HIGHEST * size + 1.0) / size
    ring = np.digitize(frequency, edges)
    rings = [r for r in range(1, len(edges)) if np.any(ring == r)]
    amplitude = np.stack([np.sqrt(power[:, ring == r].mean(axis=1)) for r in rings], axis=1)
    return np.array([frequency[ring == r].mean() for r in rings]), amplitude


def spectrum_slope(images: npt.ArrayLike) -> Array:
    """Slope of log amplitude over log frequency. `[N, H, W, C] -> [N]`.

    Least squares over the rings of `radial_amplitude`. Photographs have about -1.2, between -0.8 and
    -1.5; white noise has 0. A constant picture has no slope. It gets that of an amplitude of 1e-12
    everywhere, which is 0 and not NaN.

    Source:
        Tolhurst, Tadmor and Chao, 1992, https://doi.org/10.1111/j.1475-1313.1992.tb00296.x.

    Example:
        >>> noise = np.random.default_rng(0).normal(size=(50, 64, 64, 1))
        >>> bool(abs(spectrum_slope(noise).mean()) < 0.1)
        True
    """
    frequency, amplitude = radial_amplitude(images)
    x = np.log(frequency) - np.log(frequency).mean()
    return np.asarray(np.log(amplitude + _TINY) @ x / (x @ x))


def spectrum_distance(images: npt.ArrayLike, natural: npt.ArrayLike) -> float:
    """Root mean square of the log ratio of two mean amplitude spectra. `-> at least 0`.

    `sqrt(mean_r (ln A(r) - ln A_nat(r))^2)`; 0 for pictures with the spectrum of natural images.

    Args:
        images: `[N, H, W, C]`.
        natural: `[M, H, W, C]`, of the same size.
    """
    _, ours = radial_amplitude(images)
    _, theirs = radial_amplitude(natural)
    ratio = np.log(ours.mean(axis=0) + _TINY) - np.log(theirs.mean(axis=0) + _TINY)
    return float(np.sqrt(np.mean(ratio**2)))


def high_frequency_ratio(images: npt.ArrayLike, natural: npt.ArrayLike) -> Array:
    """Share of the power above 0.25 cycles per pixel, over that of natural images. `-> [N]`.

    1 for natural images; above 1 a picture has more fine grain than they have.
    """

    def share(pictures: Array) -> Array:
        power, frequency = _power(pictures)
        return np.asarray(
            power[:, frequency > _HIGH].sum(axis=1) / (power.sum(axis=(1, 2)) + _TINY)
        )

    return np.asarray(share(_images(images)) / (share(_images(natural)).mean() + _TINY))


def saturation(images: npt.ArrayLike) -> Array:
    """Share of values within 1/255 of black or white. `[N, H, W, C] -> [N]` in 0..1.

    Example:
        >>> saturation([[[[0.0], [0.5]], [[0.5], [1.0]]]]).tolist()
        [0.5]
    """
    pictures = np.asarray(images, np.float64)
    level = 1 / 255 + _TINY
    out = (pictures <= level) | (pictures >= 1 - level)
    return np.asarray(out.reshape(len(pictures), -1).mean(axis=1))


def total_variation(images: npt.ArrayLike) -> Array:
    """Anisotropic total variation per value. `[N, H, W, C] -> [N]`, the mean of `|dx| + |dy|`.

    Example:
        >>> total_variation([[[[0.0], [1.0]], [[0.0], [1.0]]]]).tolist()
        [0.5]
    """
    pictures = np.asarray(images, np.float64)
    down = np.abs(np.diff(pictures, axis=1)).sum(axis=(1, 2, 3))
    across = np.abs(np.diff(pictures, axis=2)).sum(axis=(1, 2, 3))
    return np.asarray((down + across) / np.prod(pictures.shape[1:]))


def repetition(images: npt.ArrayLike) -> Array:
    """Largest autocorrelation at a distance from the centre. `[N, H, W, C] -> [N]` in 0..1.

    It is computed on the gray picture minus its mean, zero padded and normalized by the overlap.
    Shifts are between 1/4 and 1/2 of the size. It is 1 for a tiling, near 0 for noise, and 0 for a
    constant picture.
    """
    pictures = _images(images).mean(axis=-1)
    pictures = pictures - pictures.mean(axis=(1, 2), keepdims=True)
    height, width = pictures.shape[1:]
    shape = (2 * height, 2 * width)
    spectrum = np.fft.rfft2(pictures, shape)
    correlation = np.fft.irfft2(np.abs(spectrum) ** 2, shape)
    overlap = np.fft.irfft2(np.abs(np.fft.rfft2(np.ones((height, width)), shape)) ** 2, shape)
    y = np.abs(np.fft.fftfreq(shape[0], 1 / shape[0]))[:, None]
    x = np.abs(np.fft.fftfreq(shape[1], 1 / shape[1]))[None, :]
    far = (y >= height / 4) | (x >= width / 4)
    inside = (y <= height / 2) & (x <= width / 2)
    energy = correlation[:, 0, 0] / (height * width)
    normalized = correlation[:, far & inside] / np.maximum(overlap[far & inside], 1)
    peak = normalized.max(axis=1) / np.maximum(energy, _TINY)
    return np.asarray(np.where(energy > _TINY, np.clip(peak, 0, 1), 0.0))


def _power(pictures: Array) -> tuple[Array, Array]:
    """Power of every frequency, mean over channels. `[N, H, W, C] -> [N, H, W], [H, W]`."""
    height, width = pictures.shape[1:3]
    window = np.hanning(height)[:, None] * np.hanning(width)[None, :]
    centred = pictures - pictures.mean(axis=(1, 2), keepdims=True)
    spectrum = np.fft.fft2(centred * window[None, :, :, None], axes=(1, 2))
    y, x = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :]
    return (np.abs(spectrum) ** 2).mean(axis=-1), np.hypot(y, x)


def _images(images: npt.ArrayLike) -> Array:
    pictures = np.asarray(images, np.float64)
    if pictures.ndim != 4 or min(pictures.shape[1:3]) < 8:
        raise ValueError(
            checks.message("images [N, H, W, C] of at least 8 pixels", f"shape {pictures.shape}")
        )
    return pictures

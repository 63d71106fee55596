"""Every parameterization once more, in naive loops over one image."""

from __future__ import annotations

import cmath
import math

import numpy as np


def from_phases(amplitudes, phases, width):
    """One channel from the half spectrum, by the sum over all frequencies. `[H, half] -> [H, W]`."""
    height, half = phases.shape
    full = np.zeros((height, width), complex)
    for y in range(height):
        for x in range(half):
            mirror = (-y % height, -x % width)
            value = amplitudes[y, x] * cmath.exp(1j * phases[y, x])
            if mirror == (y, x):
                full[y, x] = value.real
            elif mirror[1] != x or y < mirror[0]:
                # Of two mirrored entries in one column the upper one counts.
                full[y, x] = value
                full[mirror] = value.conjugate()
    image = np.zeros((height, width))
    for place in np.ndindex(image.shape):
        for y, x in np.ndindex(full.shape):
            turn = 2j * math.pi * (y * place[0] / height + x * place[1] / width)
            image[place] += (full[y, x] * cmath.exp(turn)).real
    return image / (height * width)


def enlarge(image, sizes):
    """Linear interpolation to other spatial sizes, borders repeated. `[H, W, C] -> [*sizes, C]`."""
    result = np.zeros((*sizes, image.shape[-1]))
    for place in np.ndindex(*sizes):
        corners = []
        for at, small, large in zip(place, image.shape, sizes, strict=False):
            position = min(max((at + 0.5) * small / large - 0.5, 0), small - 1)
            before = math.floor(position)
            corners.append(((before, 1 - position + before), (before + 1, position - before)))
        for y, down in corners[0]:
            for x, right in corners[1]:
                if down * right > 0:
                    result[place] += down * right * image[y, x]
    return result


def pattern(kernels, biases, output, height, width):
    """The image of one compositional pattern-producing network, pixel by pixel. `-> [H, W, C]`."""
    result = np.zeros((height, width, output.shape[1]))
    unit = 2 * math.sqrt(3) / max(height, width)
    for y, x in np.ndindex(height, width):
        hidden = np.array([(y + 0.5 - height / 2) * unit, (x + 0.5 - width / 2) * unit])
        for kernel, bias in zip(kernels, biases, strict=True):
            waves = np.arctan(hidden @ kernel + bias)
            hidden = np.concatenate([waves / 0.67, waves**2 / 0.6])
        result[y, x] = hidden @ output
    return result

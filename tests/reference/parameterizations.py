"""Every parameterization once more, in naive loops over one image."""

from __future__ import annotations

import cmath
import itertools
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


def spline(points, at):
    """A clamped uniform B-spline of degree 3 or less at one place, by the recursion of its basis.

    Source: de Boor, A Practical Guide to Splines, 1978, chapter IX.
    """
    count = len(points)
    degree = min(3, count - 1)
    inner = [k / (count - degree) for k in range(count - degree + 1)]
    knots = [0.0] * degree + inner + [1.0] * degree

    def basis(i, d):
        if d == 0:
            last = knots[i + 1] == 1.0 and at == 1.0
            return float(knots[i] <= at < knots[i + 1] or (last and knots[i] < 1.0))
        total = 0.0
        for k, sign in ((i, 1.0), (i + 1, -1.0)):
            span = knots[k + d] - knots[k]
            if span > 0:
                share = (at - knots[k]) / span
                total += (share if sign > 0 else 1.0 - share) * basis(k, d - 1)
        return total

    return np.sum([basis(i, degree) * points[i] for i in range(count)], axis=0)


def drawing(strokes, ground, height, width, softness):
    """Strokes over one another, pixel by pixel and piece by piece.

    `strokes` are (control points `[P, 2]` in pixels from the middle, radius, ink `[C]`), ground `[C]`.
    """
    image = np.tile(np.asarray(ground, np.float64), (height, width, 1))
    for points, radius, ink in strokes:
        pieces = 5 * (len(points) - 1)
        corners = [spline(points, k / pieces) for k in range(pieces + 1)]
        for i in range(height):
            for j in range(width):
                here = np.array([i - (height - 1) / 2, j - (width - 1) / 2])
                nearest = np.inf
                for a, b in itertools.pairwise(corners):
                    length = np.sum((b - a) ** 2)
                    at = np.clip((here - a) @ (b - a) / length, 0, 1) if length else 0.0
                    nearest = min(nearest, float(np.linalg.norm(here - a - at * (b - a))))
                covered = 1.0 / (1.0 + np.exp((nearest - radius) / softness))
                image[i, j] = (1 - covered) * image[i, j] + covered * np.asarray(ink)
    return image


def limited(raw, limit):
    """One image through the sigmoid, with its contrast limited. `[..., C] -> [..., C]`."""
    images = np.vectorize(lambda value: 1 / (1 + math.exp(-value)))(raw)
    means = [float(np.mean(images[..., c])) for c in range(raw.shape[-1])]
    total = sum((images[place] - means[place[-1]]) ** 2 for place in np.ndindex(raw.shape))
    factor = min(1.0, limit / math.sqrt(total / raw.size)) if total > 0 else 1.0
    result = np.zeros(raw.shape)
    for place in np.ndindex(raw.shape):
        mean = means[place[-1]]
        result[place] = mean + factor * (images[place] - mean)
    return result

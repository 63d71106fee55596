"""Every penalty and transform once more, in naive loops over one image. `[spatial..., C]`."""

from __future__ import annotations

import itertools
import math

import numpy as np


def differences(image):
    """Forward differences along every spatial axis at every value, 0 at the end. `[axes, ...]`."""
    axes = image.ndim - 1
    result = np.zeros((axes, *image.shape))
    for index in np.ndindex(image.shape):
        for axis in range(axes):
            neighbour = list(index)
            neighbour[axis] += 1
            if neighbour[axis] < image.shape[axis]:
                result[(axis, *index)] = image[tuple(neighbour)] - image[index]
    return result


def total_variation(image, beta=None, epsilon=1e-12):
    slopes = differences(image)
    total = 0.0
    for index in np.ndindex(image.shape):
        here = [slopes[(axis, *index)] for axis in range(image.ndim - 1)]
        if beta is None:
            total += sum(abs(slope) for slope in here)
        else:
            square = sum(slope**2 for slope in here)
            total += (square + epsilon) ** (beta / 2) - epsilon ** (beta / 2)
    return total / image.size


def l1(image):
    return sum(abs(value) for value in image.flat) / image.size


def l2(image):
    return sum(value**2 for value in image.flat) / image.size


def alpha_norm(image, alpha):
    return sum(abs(value) ** alpha for value in image.flat) / image.size


def l_inf(image):
    return max(abs(value) for value in image.flat)


def log_sum(image, epsilon, center=0.0):
    return sum(math.log(1 + abs(value - center) / epsilon) for value in image.flat) / image.size


def bound(image, low, high):
    total = 0.0
    for value in image.flat:
        if value > high:
            total += (value - high) ** 2
        if value < low:
            total += (value - low) ** 2
    return total / image.size


def roll(image, shifts):
    result = np.zeros_like(image)
    for index in np.ndindex(image.shape):
        target = [
            (at + shift) % size
            for at, shift, size in zip(index[:-1], shifts, image.shape, strict=False)
        ]
        result[(*target, index[-1])] = image[index]
    return result


def at(image, position):
    """The value at a whole position; beyond the border, that of the border."""
    inside = [
        min(max(index, 0), size - 1) for index, size in zip(position, image.shape, strict=False)
    ]
    return image[tuple(inside)]


def bilinear(image, y, x):
    height, width, _ = image.shape
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = math.floor(y), math.floor(x)
    down, right = y - top, x - left
    return (
        (1 - down) * (1 - right) * at(image, (top, left))
        + (1 - down) * right * at(image, (top, left + 1))
        + down * (1 - right) * at(image, (top + 1, left))
        + down * right * at(image, (top + 1, left + 1))
    )


def warp(image, matrix):
    """Output pixels from `matrix @ (y, x, 1)`, in pixels from the centre."""
    result = np.zeros_like(image)
    middle = (image.shape[0] - 1) / 2, (image.shape[1] - 1) / 2
    for row, column in np.ndindex(image.shape[:2]):
        y, x = matrix @ np.array([row - middle[0], column - middle[1], 1.0])
        result[row, column] = bilinear(image, y + middle[0], x + middle[1])
    return result


def rotation(degrees):
    angle = math.radians(degrees)
    return np.array(
        [[math.cos(angle), -math.sin(angle), 0.0], [math.sin(angle), math.cos(angle), 0.0]]
    )


def pad(image, pixels, value):
    """`value` None repeats the edge."""
    spatial = image.shape[:-1]
    result = np.zeros((*(size + 2 * pixels for size in spatial), image.shape[-1]))
    for index in np.ndindex(result.shape[:-1]):
        source = [position - pixels for position in index]
        inside = all(0 <= position < size for position, size in zip(source, spatial, strict=True))
        result[index] = at(image, source) if inside or value is None else value
    return result


def blur(image, sigma, radius):
    """One sum over a whole box of offsets, instead of one axis after the other."""
    result = np.zeros_like(image)
    offsets = list(itertools.product(range(-radius, radius + 1), repeat=image.ndim - 1))
    weights = [math.exp(-sum(o * o for o in offset) / (2 * sigma**2)) for offset in offsets]
    for index in np.ndindex(image.shape[:-1]):
        for offset, weight in zip(offsets, weights, strict=True):
            source = [position + o for position, o in zip(index, offset, strict=True)]
            result[index] += weight / sum(weights) * at(image, source)
    return result

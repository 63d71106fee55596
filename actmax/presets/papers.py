"""Presets of the papers whose methods optimize pixels and Fourier coefficients."""

from __future__ import annotations

import math
from typing import Any, Literal

from actmax import checks
from actmax.constraints import Contrast, PixelBall, from_range
from actmax.gradients import InverseFrequency, Normalize
from actmax.objectives import BatchNormPrior, Logit, LogProbability, Objective
from actmax.operators import (
    AfterUpdate,
    BlurImage,
    ClipSmallContributions,
    ClipSmallNorms,
    DecayImage,
)
from actmax.optimizers import SGD, Adam, ForgetfulAdagrad, Optimizer, ProgressSGD
from actmax.parameterizations import (
    IMAGENET_COLORS,
    Decorrelated,
    Fourier,
    Parameterization,
    Pixels,
)
from actmax.parameterizations.fourier import spectrum_scale
from actmax.presets.common import pair, shape_of
from actmax.schedules import Cosine, Linear
from regularizers import (
    Flip,
    Jitter,
    Pad,
    PixelNorm,
    Rotate,
    Scale,
    Shift,
    TotalVariation,
)

# The papers' images are of 8 bits.
_BYTES = 255.0


def lucid(model: Any, input_range: Any) -> dict[str, Any]:
    """Fourier coefficients in decorrelated colors, moved, scaled and turned at every step.

    The contrast of lucid's coefficients depends on the size of the image. Ours does not, so lucid's
    learning rate is converted at the size of the model.

    Source: Olah, Mordvintsev and Schubert, Feature Visualization, Distill 2017,
    https://doi.org/10.23915/distill.00007, code https://github.com/tensorflow/lucid:
    `render_vis` and `standard_transforms`.

    Args:
        model: for its input's size.
        input_range: a pair.

    Example:
        >>> import actmax
        >>> from actmax import zoo
        >>> actmax.presets.lucid(zoo.load("cifar10"), (0, 1))["steps"]
        512
    """
    height, width, channels = shape_of(model)
    low, high = pair(input_range)
    # lucid: coefficients times sqrt(H W) / f, inverse transform, over 4.
    raw = math.sqrt(height * width) * max(height, width) / 4.0
    contrast = raw / float(spectrum_scale(height, width, 1.0)[0, 0])
    base: Parameterization = Fourier(1.0, std=0.01 * contrast)
    # Pixels of 224-pixel images; less where they would cover a small one.
    reach = min(height, width) / 224.0
    return {
        "input_range": (low, high),
        "parameterization": Decorrelated(base) if channels == len(IMAGENET_COLORS) else base,
        "optimizer": Adam(0.05 * contrast),
        "regularizers": [
            Pad(max(round(12 * reach), 1), (low + high) / 2.0),
            Jitter(max(round(8 * reach), 1)),
            Scale(0.9, 1.1),
            Rotate(10.0),
            Jitter(max(round(4 * reach), 1)),
        ],
        "steps": 512,
    }


def yosinski(
    model: Any, input_range: Any, preset: Literal["A", "B", "C", "D"] = "C"
) -> dict[str, Any]:
    """Gradient ascent with four operators after every update, in one of the paper's four settings.

    A clears pixels of small norm, B has a strong decay, C (most of the paper's pictures) blurs, and D
    clears pixels of small contribution. The paper clips to the range before the operators, this
    preset after them. The learning rate of B and C, and the largest of A, were chosen for CaffeNet at
    227 pixels. With weaker gradients, images hardly change. Then give `learning_rate=` with the
    preset, or use D, whose steps gain 2 in the score to first order.

    Source: Yosinski, Clune, Nguyen, Fuchs and Lipson, Understanding neural networks through deep
    visualization, 2015, https://arxiv.org/abs/1506.06579, table 1; constants as in
    https://github.com/yosinski/deep-visualization-toolbox, doc/running-optimize-image.md.

    Args:
        model: not looked at; every preset takes one.
        input_range: a pair.
        preset: "A", "B", "C" or "D".
    """
    del model
    checks.one_of(preset, "preset", tuple("ABCD"))
    low, high = pair(input_range)
    center = (low + high) / 2.0
    # With u = k x, the step of x that lr g_x makes is a step k^2 lr g_u of u.
    square = ((high - low) / _BYTES) ** 2
    constant, progress = SGD(100.0 * square), ProgressSGD
    settings: dict[str, tuple[Optimizer, list[Any], int]] = {
        "A": (
            progress(100.0 * square, 2.0),
            [BlurImage(0.5, 4), ClipSmallNorms(50.0, center)],
            500,
        ),
        "B": (constant, [DecayImage(0.3, center), ClipSmallNorms(20.0, center)], 750),
        "C": (constant, [DecayImage(1e-4, center), BlurImage(1.0, 4)], 1000),
        "D": (
            progress(1e8 * square, 2.0),
            [BlurImage(0.5, 4), ClipSmallContributions(90.0, center)],
            1000,
        ),
    }
    optimizer, operators, steps = settings[preset]
    return {
        "input_range": (low, high),
        "parameterization": Pixels(),
        "optimizer": AfterUpdate(optimizer, operators),
        "regularizers": [],
        "steps": steps,
    }


def mahendran_vedaldi(
    model: Any,
    input_range: Any,
    *,
    objective: Objective | None = None,
    natural_maximum: float = 1.0,
    stride: int = 1,
    beta: float = 2.0,
) -> dict[str, Any]:
    """Natural pre-images: a power norm, total variation and a ball around every pixel.

    The score is divided by the largest score of natural images, so that the priors have the same
    weight for every unit. Without `natural_maximum`, this value is 1. Images also stay in the input
    range, which the paper does not require.

    Source: Mahendran and Vedaldi, Visualizing deep convolutional neural networks using natural
    pre-images, IJCV 2016, https://arxiv.org/abs/1512.02017, constants as in
    https://github.com/aravindhm/nnpreimage.

    Args:
        model: for its input's size.
        input_range: a pair.
        objective: None for `Logit()`.
        natural_maximum: largest score over natural images, positive.
        stride: of the layer, in pixels; images are shifted by a quarter of it, at least by 1.
        beta: power of the total variation: 2 is smooth, 1 keeps edges.
    """
    height, width, channels = shape_of(model)
    low, high = pair(input_range)
    checks.integer(stride, "stride", low=1)
    checks.number(beta, "beta", low=0.0)
    if checks.number(natural_maximum, "natural_maximum", low=0.0) == 0.0:
        raise ValueError(checks.message("natural_maximum to be positive", "0"))
    unit, center = (high - low) / _BYTES, (low + high) / 2.0
    strength, alpha = 80.0 * unit, 6.0
    objective = Logit() if objective is None else objective
    rate = height * width * 0.05 * 80.0**2 / alpha
    return {
        "objective": objective * (1.0 / natural_maximum),
        "input_range": from_range((low, high)) & PixelBall(2.0 * strength, center),
        "parameterization": Pixels(),
        # Their 1 / rate stands beside the root of squares: a floor, in the units of their gradient.
        "optimizer": ForgetfulAdagrad(unit, floor=1.0 / (rate * unit)),
        "regularizers": [
            PixelNorm(strength**-alpha, alpha, center),
            # Theirs is a sum over channels and a mean over pixels.
            TotalVariation(channels * (6.5 / strength) ** beta, beta),
            Jitter(max(round(stride / 4), 1)),
        ],
        "steps": 300,
    }


def mei(model: Any, input_range: Any, *, contrast: float | None = None) -> dict[str, Any]:
    """The most exciting image at a fixed contrast, with high frequencies of the gradient damped.

    For images, series and video. The damping must end before the run does, because it changes the point
    of convergence. So it falls to 0 over the first half of the steps, and the learning rate falls to 0
    over all steps. The run then ends at the optimum for this contrast. It starts from noise with 0.1 of
    the contrast. With damping to the end, as in the paper, linear neurons reached only 0.73 to 0.94 of
    the optimum. Rates are in units of the contrast, which replaces the standard deviation by which the
    paper's images are divided.

    Source: Walker et al., Inception loops discover what excites neurons most using deep predictive
    models, Nature Neuroscience 2019, https://doi.org/10.1038/s41593-019-0517-x, constants as in
    https://github.com/cajal/inception_loop2019.

    Args:
        model: not looked at; every preset takes one.
        input_range: a pair.
        contrast: standard deviation over an image's values, in units of images; None for a tenth of
            the range.
    """
    del model
    low, high = pair(input_range)
    std = 0.1 * (high - low) if contrast is None else checks.number(contrast, "contrast", low=0.0)
    return {
        "input_range": from_range((low, high)) & Contrast(std),
        # In units of the range's width.
        "parameterization": Pixels(0.1 * std / (high - low)),
        "gradients": [InverseFrequency(Linear(0.1, 0.0, 500)), Normalize("rms")],
        "optimizer": Adam(Linear(0.4 * std, 0.0), per="image"),
        "regularizers": [],
        "steps": 1000,
    }


def deep_inversion(
    model: Any, input_range: Any, *, feature: float = 0.05, steps: int = 2000
) -> dict[str, Any]:
    """Images of classes whose activations have the statistics of the training images.

    The statistics are those of all images of the call together, as in the paper. So images depend on
    one another; give a batch of many classes. The paper's total variation is a norm over the whole
    batch. Here it is a mean over the pixels of each image. Its weight gives the same gradient as the
    paper's for a single image of 224 pixels whose differences are 0.1 of a standard deviation. Two
    things are left out: the paper's L2 norm, of weight 1e-5, and its first two thirds at half the
    resolution.

    Source: Yin et al., Dreaming to Distill: data-free knowledge transfer via DeepInversion, CVPR 2020,
    https://arxiv.org/abs/1912.08795, code https://github.com/NVlabs/DeepInversion.

    Args:
        model: a Keras model with batch-norm layers; for its input's size.
        input_range: a pair.
        feature: weight of the statistics, `r_feature` in the paper's code.
        steps: number of updates.
    """
    height, width, channels = shape_of(model)
    low, high = pair(input_range)
    # Their images are divided by the standard deviation of ImageNet's, 0.226 of the range.
    unit = 0.226 * (high - low)
    values = height * width * channels
    # |d|_F of v values of rms r pulls on each with d / (r sqrt(v)); the mean of d^2 with 2 d / v.
    total_variation = 1e-4 * math.sqrt(values) / (2.0 * 0.1) / unit**2
    return {
        "objective": LogProbability()
        - feature * BatchNormPrior("batch", first=10.0, relative=False),
        "input_range": (low, high),
        "parameterization": Pixels(std=0.226),
        "optimizer": Adam(Cosine(0.25 * unit, 0.0), beta_1=0.5, beta_2=0.9),
        "regularizers": [
            TotalVariation(total_variation, 2.0),
            Jitter(min(30, min(height, width) // 7)),
            Flip(),
        ],
        "steps": checks.integer(steps, "steps", low=0),
    }


def natural(
    model: Any,
    input_range: Any,
    *,
    prior: float = 20.0,
    evidence: float = 0.3,
    scope: Literal["image", "batch"] = "batch",
    steps: int = 300,
) -> dict[str, Any]:
    """Images of classes that together have the batch-norm statistics of natural images.

    This is DeepInversion's prior for runs of a few hundred passes. The prior is relative to each
    layer's own scale. It uses Fourier coefficients, because pixels would give fine noise with so few
    passes. Images are zoomed by 0.6 to 1.4 at a random position. The log-probability has no more
    gradient once the network is certain of the class, and then only the prior counts. A small weight
    of the logit still asks for more of the class. Without it, a picture may become a natural
    background with only a trace of the class. `result.scores` are those of this objective,
    `log p + evidence logit - prior D`.

    Source: after Yin et al., Dreaming to Distill (DeepInversion), CVPR 2020,
    https://arxiv.org/abs/1912.08795, and Olah et al., Feature Visualization, Distill 2017,
    https://doi.org/10.23915/distill.00007; settings found with `benchmarks/imagenet.py` on its ten
    development classes.

    Args:
        model: a Keras model with batch-norm layers, of classes; for its input's size.
        input_range: a pair.
        prior: weight of `BatchNormPrior`, 0 or more. It is in units of log-probability.
        evidence: weight of the logit beside the log-probability, 0 or more.
        scope: "batch" for statistics of all images of a call together. Images then depend on one
            another, so give ten or more of different classes. "image" keeps images independent, but
            every single image must then have the statistics of many; judges recognize fewer of them.
        steps: number of updates, one pass through the model each.
    """
    height, width, channels = shape_of(model)
    checks.number(prior, "prior", low=0.0)
    checks.number(evidence, "evidence", low=0.0)
    base: Parameterization = Fourier(1.0, std=0.3)
    size = min(height, width)
    return {
        "objective": LogProbability() + evidence * Logit() - prior * BatchNormPrior(scope),
        "input_range": pair(input_range),
        "parameterization": Decorrelated(base) if channels == len(IMAGENET_COLORS) else base,
        "optimizer": Adam(Cosine(0.1, 0.0), beta_1=0.5, beta_2=0.9),
        "regularizers": [
            Scale(0.6, 1.4),
            Shift(size / 10.0),
            Jitter(max(size // 14, 1)),
            Flip(),
        ],
        "steps": checks.integer(steps, "steps", low=0),
    }

"""`check_model`: tests whether your own model is suitable for activation maximization."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from actmax import checks, models
from actmax.objectives import LOGITS, OUTPUT
from actmax.preparing import prepared
from actmax.testing.differences import Slope, first_wrong, wrong
from actmax.testing.findings import Finding, Level, ModelReport
from actmax.testing.fixed_inputs import of_one_input
from actmax.testing.letters import letters_of
from actmax.testing.rows import ContractError
from actmax.testing.unchanged import dtype_policy, fingerprint
from actmax.types import IMAGES

Answer = tuple[Level, str, str]

_COUNT = 4
_OPEN_SIZE = 64  # pixels, for sizes that the model leaves open
_SAME = 1e-4  # relative: another batch shape rounds differently, a batch statistic by far more
_SATURATED = 0.999  # a probability above it leaves a gradient of under a thousandth
_HALF = 0.5  # of a layer or an image: beyond it the exception is the rule


def check_model(
    model: Any,
    input_range: Any = None,
    *,
    input_shape: Sequence[int] | None = None,
    labels: Sequence[str] | None = None,
    preprocess: Callable[[Any], Any] | None = None,
    fixed: Mapping[str, Any] | None = None,
    raise_on_failure: bool = False,
) -> ModelReport:
    """Tests a model with one input in the way that activation maximization will use it.

    The model is not changed, and its errors become findings.

    Args:
        model: a Keras model or a callable `images -> outputs`.
        input_range: `(low, high)` of the images, or letters, `actmax.OneHot(alphabet)`; None to read it
            off the model.
        input_shape: of one image, where the model does not know it.
        labels: class names, compared with the number of outputs.
        preprocess: images in the input range to what the model takes.
        fixed: values of the other inputs of a model with several, by name, `[1, ...]`. The checks then
            use the model as a function of the remaining input.
        raise_on_failure: True to raise if a check failed.

    Raises:
        ContractError: with `raise_on_failure`, holding the table.

    Example:
        >>> from actmax import zoo
        >>> from actmax.testing import check_model
        >>> check_model(zoo.load("mnist"), input_range=(0, 1)).ok
        True
    """
    before = fingerprint(model)
    whole = model
    if fixed:
        model, input_shape, input_range = of_one_input(model, fixed, input_shape, input_range)
    policy = dtype_policy()
    findings: list[Finding] = []
    trial = _Trial(model, input_range, input_shape, labels, preprocess)
    for name, check in _checks(trial):
        findings.append(_try(name, check))
        if name == "forward pass" and findings[-1].level == "fail":
            break  # Everything after it needs an output.
    after = fingerprint(whole)
    for name in ("weights", "trainable flags", "configuration"):
        same = before[name] == after[name]
        text = "as they were before" if same else "changed by calling the model"
        do = "" if same else "Let call() assign nothing when training=False."
        findings.append(Finding(f"restored {name}", "ok" if same else "fail", text, do))
    kept = policy == dtype_policy()
    text = "as it was before" if kept else "changed by calling the model"
    findings.append(Finding("restored dtype policy", "ok" if kept else "fail", text))
    report = ModelReport(tuple(findings))
    if raise_on_failure and not report.ok:
        first = next(finding.name for finding in report.findings if finding.level == "fail")
        raise ContractError(first, str(report))
    return report


def _try(name: str, check: Callable[[], Answer]) -> Finding:
    try:
        return Finding(name, *check())
    except Exception as error:
        # Whatever a model of anyone's raises is what the report is for.
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return Finding(name, "fail", text, "Call the model on such images yourself, and mend that.")


class _Trial:
    """A model, sample images over its range, and what it answers; the checks are its methods."""

    def __init__(self, model: Any, given: Any, shape: Any, labels: Any, preprocess: Any) -> None:
        self.model, self.given, self.labels, self.preprocess = model, given, labels, preprocess
        self.letters = letters_of(model, given, shape)
        if self.letters is not None:
            preprocess = self.letters.prepared(preprocess)
            self.preprocess, self.given = preprocess, (0.0, 1.0)
            shape = self.letters.shape
        self.shape = shape
        numbers = {} if self.letters is None else self.letters.numbers
        self.taps = models.Taps(model, [OUTPUT, LOGITS], numbers)
        self.slope = Slope(model, LOGITS, preprocess, numbers)
        self._known: dict[str, tuple[np.ndarray, bool]] | None = None

    @property
    def span(self) -> tuple[float, float]:
        """The range: as given, else read off the model, else (0, 1), of which a check complains."""
        if self.given is not None:
            return float(self.given[0]), float(self.given[1])
        found = None if self.preprocess is not None else models.detect_range(self.model)
        return (0.0, 1.0) if found is None else found[0]

    @property
    def size(self) -> tuple[int, ...]:
        if self.shape is not None:
            return tuple(self.shape)
        specs = models.input_specs(self.model)
        if specs is None or len(specs) != 1 or specs[0].shape is None:
            raise ValueError(
                checks.message("the shape of one input", "none", "Give input_shape=(H, W, C).")
            )
        return tuple(_OPEN_SIZE if size is None else size for size in specs[0].shape)

    def images(self, count: int = _COUNT) -> tf.Tensor:
        low, high = self.span
        noise = np.random.default_rng(0).uniform(low, high, [count, *self.size])
        if self.letters is not None:
            noise = self.letters.rows.finish(tf.constant(noise))
        return tf.cast(noise, tf.float32)

    def answer(self, images: tf.Tensor, name: str = LOGITS) -> np.ndarray:
        ready = prepared(images, self.preprocess)
        return np.asarray(self.taps({IMAGES: ready})[name])

    def gradient(self, count: int = 2) -> tuple[np.ndarray | None, np.ndarray]:
        """Gradient of the sum of outputs, and of each unit's pull `[units]` (up to 32)."""
        images = self.images(count)
        value, _ = self.slope(images)
        units = int(np.prod(value.shape[1:]))
        shape = value.shape[1:]
        _, gradient = self.slope(images, np.arange(1.0, units + 1.0).reshape(shape))
        # Of a thousand units 32 are tried, evenly spaced.
        picked = np.unique(np.linspace(0, units - 1, min(units, 32)).astype(int))
        if self.slope.blocked:
            return None, np.zeros(len(picked))
        pulls = [self.slope(images, np.eye(1, units, unit).reshape(shape))[1] for unit in picked]
        return gradient, np.array([float(np.max(np.abs(pull))) for pull in pulls])

    def input_range(self) -> Answer:
        if self.letters is not None:
            return "ok", f"{self.letters.rows!r}"[:120], ""
        found = None if self.preprocess is not None else models.detect_range(self.model)
        if self.given is None and found is None:
            do = "Give input_range=(low, high) of the training images."
            return "fail", "none given, none found in the model; (0, 1) tried", do
        if self.given is not None and not self.span[0] < self.span[1]:
            return "fail", f"empty: {self.given}", "Give low < high."
        if found is not None and self.span != found[0]:
            do = f"Use {found[0]} unless you know better."
            return "warning", f"{self.span} given, layer {found[1]} says {found[0]}", do
        return "ok", f"{self.span}", ""

    def input_count(self) -> Answer:
        specs = models.input_specs(self.model)
        if specs is not None and len(specs) > 1:
            do = "Fix the others with fixed=, and check a function of the one."
            return "fail", f"{len(specs)} inputs: {[spec.name for spec in specs]}", do
        return "ok", "one input", ""

    def input_dtype(self) -> Answer:
        specs = models.input_specs(self.model)
        kinds = [tf.as_dtype(spec.dtype) for spec in specs or ()]
        if self.letters is not None and self.letters.numbers:
            return "ok", f"{kinds[0].name}, only looked up: letters have a gradient", ""
        if any(not kind.is_floating for kind in kinds):
            do = "Give letters, OneHot(alphabet), or the model from the first layer behind the lookup."
            return "fail", f"the input is {kinds[0].name}, which has no gradient", do
        return "ok", kinds[0].name if kinds else "not declared, float32 tried", ""

    def picture(self) -> Answer:
        size = self.size
        if self.letters is not None:
            return "ok", "sequences of letters", ""
        if len(size) == 3 and size[-1] in (1, 3):
            return "ok", "images of 1 or 3 channels, last", ""
        do = "Results stay arrays: pictures need [H, W, 1 or 3]."
        return "warning", f"{list(size)} is no picture", do

    def finite_weights(self) -> Answer:
        bad = models.bad_weight(self.model)
        if bad is None:
            return "ok", "all finite", ""
        return "fail", f"{bad} holds NaN or infinity", "Load a checkpoint from before that."

    def forward(self) -> Answer:
        shape = self.answer(self.images(), OUTPUT).shape
        if len(shape) and shape[0] == _COUNT:
            return "ok", f"outputs {list(shape)}", ""
        return "fail", f"{_COUNT} images give {list(shape)}", "Return one row per image."

    def output_dtype(self) -> Answer:
        kind = self.answer(self.images()).dtype
        if kind in (np.float32, np.float64):
            return "ok", str(kind), ""
        return "warning", f"{kind}: gradients may underflow", "Load the model with dtype float32."

    def finite(self) -> Answer:
        low, high = self.span
        ramp = np.linspace(low, high, 9).reshape([-1, *[1] * len(self.size)])
        flat = tf.constant(np.broadcast_to(ramp, [9, *self.size]), tf.float32)
        if self.letters is not None:
            flat = self.letters.each(9)
        bad = ~np.isfinite(np.concatenate([self.answer(flat), self.answer(self.images())]))
        if not bad.any():
            return "ok", "for noise and for plain images over the whole range", ""
        return (
            "fail",
            "NaN or infinity inside the input range",
            "Look for log, sqrt, division by 0.",
        )

    def deterministic(self) -> Answer:
        images = self.images()
        if np.array_equal(self.answer(images), self.answer(images)):
            return "ok", "the same images give the same bytes", ""
        do = "Let dropout and noise look at `training`."
        return "fail", "the same images give other outputs", do

    def independent(self) -> Answer:
        images = self.images()
        whole, alone = self.answer(images), self.answer(images[:1])
        gap = np.max(np.abs(whole[:1] - alone)) / max(float(np.max(np.abs(whole))), 1e-12)
        if gap <= _SAME:
            return "ok", f"a row alone is the row in a batch to {gap:.1e}", ""
        do = "Call BatchNormalization with training=False; normalize each image on its own."
        return "fail", f"a row alone differs from the row in a batch by {gap:.1e}", do

    def order(self) -> Answer:
        images = self.images()
        swapped = self.answer(images[::-1])[::-1]
        answer = self.answer(images)
        gap = np.max(np.abs(answer - swapped)) / max(float(np.max(np.abs(answer))), 1e-12)
        if gap <= _SAME:
            return "ok", "the order of a batch does not matter", ""
        return "fail", f"rows depend on their place by {gap:.1e}", "Use no index over the batch."

    def sensitive(self) -> Answer:
        if np.ptp(self.answer(self.images()), axis=0).max() > 0:
            return "ok", "other images give other outputs", ""
        return "fail", "every image gives the same output", "Check the weights and the input range."

    def gradient_reaches(self) -> Answer:
        gradient, _ = self.gradient()
        if gradient is None:
            text = self._blocking()
            return "fail", f"no path from output to image{text}", "Use differentiable operations."
        if not np.any(gradient):
            return "fail", "zero everywhere", "A dead or saturated layer is in the way."
        return "ok", f"largest {np.max(np.abs(gradient)):.2g}", ""

    def gradient_finite(self) -> Answer:
        gradient, _ = self.gradient()
        if gradient is None or np.all(np.isfinite(gradient)):
            return "ok", "finite" if gradient is not None else "none to look at", ""
        return "fail", "NaN or infinity", "Add an epsilon inside roots and logarithms."

    def gradient_everywhere(self) -> Answer:
        gradient, _ = self.gradient()
        share = 0.0 if gradient is None else float(np.mean(np.any(gradient != 0, axis=0)))
        if share > _HALF:
            return "ok", f"reaches {share:.0%} of the input", ""
        return "warning", f"reaches {share:.0%} of the input", "Values without gradient stay noise."

    def dead_outputs(self) -> Answer:
        _, pulls = self.gradient(count=_COUNT)
        dead = int(np.sum(pulls == 0))
        if not dead:
            return "ok", f"all of {len(pulls)} outputs tried have a gradient", ""
        do = "Those targets end with NO_GRADIENT; start them from natural images."
        return "warning", f"{dead} of {len(pulls)} outputs tried have none on noise", do

    def non_differentiable(self) -> Answer:
        blocked = self._blocked()
        if not blocked:
            return "ok", "every layer tried passes a gradient", ""
        return "fail", f"no gradient through {', '.join(blocked[:5])}", "Replace them."

    def _blocking(self) -> str:
        blocked = self._blocked()
        return f", lost in or before {blocked[0]}" if blocked else ""

    def _layers(self) -> dict[str, tuple[np.ndarray, bool]]:
        """Of every addressable layer its activation, and whether no gradient reaches the image."""
        if self._known is None:
            self._known = {}
            paths = models.layer_paths(self.model) if models.is_keras(self.model) else ()
            for path in paths:
                slope = Slope(self.model, path, self.preprocess, self.taps.letters)
                try:
                    value, _ = slope(self.images(2))
                except (ValueError, TypeError):
                    continue  # not called, shared, or several tensors: `addressable` counts those
                self._known[path] = value, slope.blocked
        return self._known

    def _blocked(self) -> list[str]:
        return [path for path, (_, blocked) in self._layers().items() if blocked]

    def right_gradient(self) -> Answer:
        low, high = self.span
        images = np.asarray(self.images(1))
        found = wrong(self.slope, images, high - low)
        if found is None:
            return "ok", "the gradient is the slope of the output, along two directions", ""
        slopes = (
            (path, Slope(self.model, path, self.preprocess, self.taps.letters))
            for path in self._layers()
        )
        path = first_wrong(slopes, images, high - low)
        where = f", first in {path}" if path else ""
        do = "Mend that layer's gradient. Where it is meant (straight-through), scores are still right."
        return "fail", f"slope {found[0]:.3g}, the gradient says {found[1]:.3g}{where}", do

    def dead_units(self) -> Answer:
        worst, where = 0.0, ""
        for path, (value, _) in self._layers().items():
            flat = value.reshape([-1, value.shape[-1]]) if value.ndim > 1 else None
            if flat is not None and flat.shape[-1] > 1:
                share = float(np.mean(~np.any(flat != 0, axis=0)))
                worst, where = max((worst, where), (share, path))
        if worst <= _HALF:
            return "ok", f"at most {worst:.0%} of a layer's units are silent on noise", ""
        do = "Channels among them end with NO_GRADIENT; look at natural images too."
        return "warning", f"{worst:.0%} of {where} are silent on noise", do

    def addressable(self) -> Answer:
        if not models.is_keras(self.model):
            return "warning", "a plain callable has no layers", "Use Logit or a function."
        known = list(models.layer_paths(self.model))
        found = len(self._layers())
        if found == len(known) and known:
            return "ok", f"all {found} layers by path", ""
        do = "Shared layers are named 'path:0'; others return no single tensor."
        return "warning", f"{found} of {len(known)} layers by their bare path", do

    def head(self) -> Answer:
        output = self.answer(self.images(), OUTPUT)
        heads = sorted(set(self.taps.heads.values()))
        if not set(heads) & {"softmax", "sigmoid", "logsoftmax"}:
            if models.look_like_probabilities(output):
                do = "Let the model end in a Softmax layer, or give the model without it."
                return "fail", "outputs are probabilities and no softmax was found", do
            return "ok", f"{', '.join(heads)}: scores are the output itself", ""
        return "ok", f"{', '.join(heads)} found: scores are taken before it", ""

    def saturation(self) -> Answer:
        output = self.answer(self.images(), OUTPUT)
        if not models.look_like_probabilities(output) or np.median(output.max(-1)) < _SATURATED:
            return "ok", "the output is not saturated on noise", ""
        do = "Check the input range; scores before the softmax are not affected."
        return "warning", "probabilities of noise are all but 1", do

    def outputs_and_labels(self) -> Answer:
        count = self.answer(self.images()).shape[-1]
        if self.labels is None or len(self.labels) == count:
            return "ok", f"{count} outputs" + ("" if self.labels is None else " and labels"), ""
        return "fail", f"{len(self.labels)} labels for {count} outputs", "Give one per output."


def _checks(trial: _Trial) -> Iterator[tuple[str, Callable[[], Answer]]]:
    yield from (
        ("input count", trial.input_count),
        ("input shape", lambda: ("ok", str(trial.size), "")),
        ("input dtype", trial.input_dtype),
        ("input range", trial.input_range),
        ("picture", trial.picture),
        ("finite weights", trial.finite_weights),
        ("forward pass", trial.forward),
        ("output dtype", trial.output_dtype),
        ("finite outputs", trial.finite),
        ("deterministic", trial.deterministic),
        ("batch independence", trial.independent),
        ("batch order", trial.order),
        ("sensitive", trial.sensitive),
        ("gradient", trial.gradient_reaches),
        ("finite gradient", trial.gradient_finite),
        ("gradient coverage", trial.gradient_everywhere),
        ("gradient is the slope", trial.right_gradient),
        ("dead outputs", trial.dead_outputs),
        ("differentiable layers", trial.non_differentiable),
        ("dead units", trial.dead_units),
        ("layers by path", trial.addressable),
        ("head", trial.head),
        ("saturation", trial.saturation),
        ("outputs and labels", trial.outputs_and_labels),
    )

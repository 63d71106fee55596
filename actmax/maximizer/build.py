"""From the arguments of `Maximizer` to a `Problem`: every check that needs no run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from actmax import checks, constraints, defaults, models
from actmax.evidence import Evidence
from actmax.feeding import On
from actmax.maximizer import (
    constraint_checks,
    inferred,
    letter_inputs,
    old_keras,
    part_checks,
    start_image_checks,
    training_images,
)
from actmax.maximizer.unsupported import refuse_model, refuse_surroundings
from actmax.models import InputSpec, Taps
from actmax.objectives import as_objective
from actmax.parameterizations import Parameterization
from actmax.preparing import to_last
from actmax.problem import Input, Problem
from actmax.types import IMAGES
from regularizers.base import Regularizer, Transform
from regularizers.transforms import compose

# Recipes with learning rates for noise starts.
_PICTURED = ("strokes", "gray_images", "color_images")


@dataclasses.dataclass(frozen=True)
class Arguments:
    """The arguments of `Maximizer` that make the problem, as the user gave them."""

    model: Any
    objective: Any
    input_range: Any
    regularizers: Any
    parameterization: Any
    optimizer: Any
    gradients: Any
    metrics: Any
    preprocess: Any
    copies: Any
    antithetic: Any
    canvas: Any
    mask: Any
    precision: Any
    input_shape: Any
    fixed: Any
    balance: Any
    natural: Any = None


@dataclasses.dataclass(frozen=True)
class Built:
    """A problem, the fixed arrays, and the reasons for values that were chosen automatically."""

    problem: Problem
    fixed: dict[str, np.ndarray]
    balance: bool
    chosen: dict[str, str]
    keeps_start: (
        bool  # whether the rate comes from a recipe; it would erase a picture to start from
    )
    compute: str | None  # dtype of the model's computation, if it differs from the images' dtype


def build(arguments: Arguments) -> Built:
    """Checks the arguments, fills in defaults, and makes the problem."""
    chosen: dict[str, str] = {}
    refuse_surroundings()
    members = tuple(map(old_keras.at_inference, _members(arguments.model)))
    specs = _specs(members, arguments, chosen)
    fixed = _fixed(arguments.fixed, specs)
    free = [spec for spec in specs if spec.name not in fixed]
    if not free:
        raise ValueError(
            checks.message("at least one input to optimize", f"all of {sorted(fixed)} fixed")
        )
    letters = letter_inputs.read(members, specs, free, arguments.input_range)
    free = letters.specs
    doubt = letter_inputs.note(free, arguments.input_range)
    if doubt:
        chosen["letters"] = doubt
    dtype = _dtype(arguments.precision, free)
    canvases = _by_input(arguments.canvas, free, "canvas")
    preprocess = _by_input(arguments.preprocess, free, "preprocess")
    read = inferred.read(members, specs, free, preprocess, arguments.input_range)
    ranges = inferred.ranges(arguments, members[0], free, read, preprocess, chosen)
    channels = {
        # Letters define their own axis.
        spec.name: None
        if isinstance(ranges[spec.name], constraints.Rows)
        else inferred.channels(read, spec, chosen)
        for spec in free
    }
    shapes = {
        spec.name: _canvas(canvases.get(spec.name), spec, channels[spec.name]) for spec in free
    }
    for spec in free:
        rows = ranges[spec.name]
        if isinstance(rows, constraints.Rows):
            rows.positions(shapes[spec.name])
        inferred.check_bounds(rows, shapes[spec.name], spec.name)
    explicit = {
        spec.name: ranges[spec.name].projects
        and (
            _is_set(inferred.given_range(arguments.input_range, spec.name))
            or constraints.width(ranges[spec.name]) is None
        )
        for spec in free
    }
    network = members[0] if len(members) == 1 and len(specs) == 1 else None
    natural = _natural(arguments.natural, free, shapes, ranges, channels)
    evidence = _evidence(
        arguments, members, specs, free, shapes, ranges, preprocess, channels, natural
    )
    recipe = defaults.choose(
        shapes, ranges, any(explicit.values()), network, arguments, chosen, evidence, natural
    )
    for spec in free:
        constraint_checks.check_fits(ranges[spec.name], shapes[spec.name], spec.name)
        ranges[spec.name] = constraint_checks.measured(
            ranges[spec.name], recipe.optimizer, spec.name
        )
    regularizers = part_checks.regularizers(recipe.regularizers, [spec.name for spec in free])
    wanted = _by_input(recipe.parameterization, free, "parameterization")
    masks = _by_input(arguments.mask, free, "mask")
    inputs = tuple(
        _input(
            spec,
            shapes[spec.name],
            wanted[spec.name],
            ranges[spec.name],
            explicit[spec.name],
            preprocess.get(spec.name),
            masks.get(spec.name),
            regularizers,
            channels[spec.name],
            letters.flat.get(spec.name),
        )
        for spec in free
    )
    optimizer = part_checks.optimizer(recipe.optimizer)
    gradients = part_checks.functions(arguments.gradients, "gradients")
    part_checks.places(optimizer, gradients, inputs)
    if arguments.optimizer is not None:
        constraint_checks.warn_of_optimizer(optimizer, inputs)
    objective = as_objective(arguments.objective)
    old_keras.refuse_layers(members[0], objective.layers)
    copies = part_checks.copies(recipe)
    penalties = tuple(part_checks.penalties(regularizers))
    names = part_checks.layers_asked(objective, penalties, members)
    problem = Problem(
        models=tuple(Taps(member, names, letters.numbers) for member in members),
        objective=objective,
        inputs=inputs,
        penalties=penalties,
        gradients=gradients,
        metrics=part_checks.metrics(arguments.metrics, regularizers),
        optimizer=optimizer,
        copies=copies,
        antithetic=part_checks.antithetic(arguments.antithetic, copies),
        dtype=dtype,
        balance=bool(recipe.balance),
    )
    half = arguments.precision in ("bfloat16", "float16", "mixed")
    compute = arguments.precision if half else None
    keeps = chosen["recipe"].startswith(_PICTURED) and arguments.optimizer is None
    return Built(
        problem, fixed, bool(recipe.balance), chosen, keeps and arguments.mask is None, compute
    )


def _is_set(value: Any) -> bool:
    """Whether a range is a set that a pair of ends cannot describe."""
    return isinstance(value, constraints.Constraint) and type(value) is not constraints.Box


def _is_gray(shapes: Mapping[str, tuple[int, ...]]) -> bool:
    shape = next(iter(shapes.values()))
    return len(shape) == 3 and shape[-1] == 1


def _evidence(
    arguments: Arguments,
    members: Sequence[Any],
    specs: Sequence[InputSpec],
    free: Sequence[InputSpec],
    shapes: Mapping[str, tuple[int, ...]],
    ranges: Mapping[str, constraints.Constraint],
    preprocess: Mapping[str, Any],
    channels: Mapping[str, int | None],
    natural: np.ndarray | None,
) -> Evidence | None:
    """The kind of gray images of the models' only input, if a recipe needs it."""
    if arguments.regularizers is not None or len(specs) > 1 or not _is_gray(shapes):
        return None
    name = free[0].name
    return training_images.evidence_of(
        members, as_objective(arguments.objective), free[0], shapes[name], ranges[name],
        preprocess.get(name), channels[name], natural,
    )  # fmt: skip


def _natural(
    given: Any,
    free: Sequence[InputSpec],
    shapes: Mapping[str, tuple[int, ...]],
    ranges: Mapping[str, constraints.Constraint],
    channels: Mapping[str, int | None],
) -> np.ndarray | None:
    """Images from the user, for a model with one image input."""
    if given is None:
        return None
    name = free[0].name
    if len(free) > 1 or len(shapes[name]) != 3:
        raise ValueError(
            checks.message("natural for a model of one input of images", f"inputs {sorted(shapes)}")
        )
    return training_images.natural_images(given, shapes[name], ranges[name], channels[name])


def _members(model: Any) -> tuple[Any, ...]:
    members = tuple(model) if isinstance(model, (list, tuple)) else (model,)
    if not members:
        raise ValueError(checks.message("at least one model", "an empty list"))
    for member in members:
        refuse_model(member)
        if not callable(member) or isinstance(member, type):
            hint = ""
            if isinstance(member, str):
                hint = "Load it first: actmax.load_model(path)."
            raise TypeError(
                checks.message(
                    "a Keras model or a callable images -> outputs",
                    f"{member!r} ({type(member).__name__})",
                    hint,
                )
            )
    return members


def _specs(
    members: Sequence[Any], arguments: Arguments, chosen: dict[str, str]
) -> tuple[InputSpec, ...]:
    """Inputs of the models, which must agree, completed by `input_shape`."""
    input_shape, fixed = arguments.input_shape, arguments.fixed
    specs = models.input_specs(members[0]) or old_keras.specs(members[0])
    for member in members[1:]:
        other = models.input_specs(member)
        if specs is not None and other is not None and _signature(specs) != _signature(other):
            raise ValueError(
                checks.message("models that take the same inputs", f"{specs} and {other}")
            )
    if specs is None and input_shape is None:
        specs = models.built_specs(members[0])
        if specs is not None:
            known = ", ".join(str(spec.shape) for spec in specs)
            chosen["input_shape"] = f"{known}, with which Keras built the model"
    if specs is None:
        if input_shape is None:
            raise ValueError(
                checks.message(
                    "a model that knows its input shape",
                    f"{getattr(members[0], 'name', type(members[0]).__name__)}, which does not",
                    "Give input_shape=(height, width, channels), or initial_images.",
                )
            )
        named = input_shape if isinstance(input_shape, Mapping) else {IMAGES: input_shape}
        dtype = models.dtype_of(members[0])
        specs = tuple(
            InputSpec(name, checks.image_shape(shape, "input_shape"), dtype)
            for name, shape in named.items()
        )
    elif input_shape is not None:
        shapes = _by_name(input_shape, [spec.name for spec in specs], "input_shape")
        specs = tuple(_fill_shape(spec, shapes.get(spec.name)) for spec in specs)
    for spec in specs:
        held = isinstance(fixed, Mapping) and spec.name in fixed
        given = inferred.given_range(arguments.input_range, spec.name)
        if not held:
            _refuse_input(spec, letters=isinstance(given, constraints.Rows))
    return specs


# What to do about an input without a gradient, by the beginning of its type. The last is for numbers.
_REMEDIES = {
    "string": "Text has no gradient. Give the part behind its lookup as the model, or hold this input "
    "with fixed=.",
    "bool": "Give the model behind the cast, or hold this input with fixed=.",
    "complex": "Put a model of real numbers in front of it, as with keras.layers.Lambda(lambda x: "
    "tf.complex(x[..., 0], x[..., 1])).",
    "": "Give the letters that its numbers stand for, input_range=actmax.OneHot(alphabet), the "
    "model behind the cast or the embedding, or hold this input with fixed=.",
}


def _refuse_input(spec: InputSpec, *, letters: bool) -> None:
    """Raises ValueError for an input that is optimized and that no gradient can reach."""
    if not letters and not spec.dtype.startswith(("float", "bfloat")):
        raise ValueError(
            checks.message(
                f"a floating-point input {spec.name!r}, which a gradient can reach",
                f"dtype {spec.dtype}",
                next(do for kind, do in _REMEDIES.items() if spec.dtype.startswith(kind)),
            )
        )
    if spec.shape == ():
        raise ValueError(
            checks.message(
                f"an input {spec.name!r} with at least one axis besides the rows",
                "an input of shape (), one number for each row",
                "Put an axis in front of the model: keras.Sequential([keras.Input((1,)), "
                "keras.layers.Reshape(()), model]).",
            )
        )


def _signature(specs: tuple[InputSpec, ...]) -> list[Any]:
    return [(spec.name, spec.shape) for spec in specs]


def _fill_shape(spec: InputSpec, given: Any) -> InputSpec:
    if given is None:
        return spec
    shape = checks.image_shape(given, "input_shape")
    known = spec.shape or ()
    if len(shape) != len(known) or any(
        k not in (None, s) for k, s in zip(known, shape, strict=True)
    ):
        raise ValueError(
            checks.message(
                f"an input_shape that fits the model's {known}",
                shape,
                start_image_checks.around(shape, known),
            )
        )
    return dataclasses.replace(spec, shape=shape)


def _fixed(fixed: Any, specs: Sequence[InputSpec]) -> dict[str, np.ndarray]:
    if fixed is None:
        return {}
    if not isinstance(fixed, Mapping):
        raise TypeError(checks.message("fixed to be a dict by input name", type(fixed).__name__))
    known = {spec.name: spec for spec in specs}
    for name in fixed:
        if name not in known:
            raise ValueError(
                checks.message(f"names of inputs {sorted(known)} in fixed", repr(name))
            )
    arrays = {}
    for name, value in fixed.items():
        # A copy, because the caller may change the array between runs. NumPy has its own types for
        # texts.
        text = known[name].dtype == "string"
        array = np.array(value) if text else _exactly(value, known[name].dtype, name)
        shape = known[name].shape or ()
        if array.ndim != len(shape) + 1:
            raise ValueError(
                checks.message(
                    f"fixed[{name!r}] of shape [1 or N, *{shape}]", f"shape {array.shape}"
                )
            )
        arrays[name] = array
    return arrays


def _exactly(value: Any, dtype: str, name: str) -> np.ndarray:
    """A copy of an array in the dtype of an input. Raises ValueError if whole numbers are required."""
    if not dtype.startswith(("int", "uint", "bool")):
        return np.array(value, dtype)
    with np.errstate(invalid="ignore"):
        found = np.asarray(value).astype(dtype)
    if not np.array_equal(found, np.asarray(value)):
        raise ValueError(
            checks.message(
                f"whole numbers of type {dtype} in fixed[{name!r}]",
                repr(np.asarray(value).tolist())[:80],
                "Round them.",
            )
        )
    return found


def _dtype(precision: Any, specs: Sequence[InputSpec]) -> tf.DType:
    if precision == "float64":
        return tf.float64
    if precision is not None:  # only the model computes in half precision
        return tf.float32
    return tf.float64 if all(spec.dtype == "float64" for spec in specs) else tf.float32


def _by_name(value: Any, names: Sequence[str], argument: str) -> dict[str, Any]:
    """A value for the only input, or a dict by input name."""
    if isinstance(value, Mapping):
        unknown = sorted(set(value) - set(names))
        if unknown:
            raise ValueError(
                checks.message(
                    f"names of inputs {list(names)} in {argument}",
                    f"{unknown}",
                    "A model's only input is called 'images', whatever its own name."
                    if list(names) == [IMAGES]
                    else "",
                )
            )
        return dict(value)
    if value is None:
        return {}
    if len(names) > 1:
        raise TypeError(
            checks.message(
                f"{argument} as a dict by input name, one of {list(names)}", f"{value!r}"
            )
        )
    return {names[0]: value}


def _by_input(value: Any, specs: Sequence[InputSpec], argument: str) -> dict[str, Any]:
    return _by_name(value, [spec.name for spec in specs], argument)


def _example(shape: tuple[int | None, ...]) -> str:
    """An example of a shape whose open sizes must be given."""
    names = ["height", "width"] if len(shape) == 3 else ["length"]
    names += [f"size_{at}" for at in range(len(names) + 1, len(shape) + 2)]
    sizes = [names[at] if size is None else str(size) for at, size in enumerate(shape)]
    if len(shape) == 3 and shape[2] is None:
        sizes[2] = "channels"
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def _canvas(canvas: Any, spec: InputSpec, channels: int | None) -> tuple[int, ...]:
    """Shape of one image inside the loop, with channels last."""
    shape = to_last(tuple(spec.shape or ()), channels)
    if canvas is None:
        if None in shape or not shape:
            raise ValueError(
                checks.message(
                    "an input size",
                    f"the model's open shape {shape}",
                    f"Give input_shape={_example(shape)}, or initial_images of that size.",
                )
            )
        return tuple(int(size) for size in shape if size is not None)
    size = checks.image_shape(canvas, "canvas")
    if len(shape) != 3 or len(size) != 2:
        raise ValueError(
            checks.message(
                "canvas=(height, width) for a model of images", f"{canvas!r} for {shape}"
            )
        )
    return (*size, int(shape[2] or 3))


def _input(
    spec: InputSpec,
    shape: tuple[int, ...],
    parameterization: Any,
    constraint: constraints.Constraint,
    explicit: bool,
    preprocess: Any,
    mask: Any,
    regularizers: Sequence[tuple[int, On, Regularizer]],
    channels: int | None,
    flat: tuple[int, ...] | None,
) -> Input:
    if not isinstance(parameterization, Parameterization):
        raise TypeError(
            checks.message(
                "a parameterization such as actmax.Pixels() or actmax.Fourier()",
                repr(parameterization),
            )
        )
    if preprocess is not None and not callable(preprocess):
        raise TypeError(checks.message("preprocess to be a function of images", repr(preprocess)))
    if not parameterization.are_images and constraint.projects:
        if explicit:
            constraint = constraint_checks.mapped(constraint, parameterization)
        elif parameterization.image_range is None:
            constraint = constraints.Sigmoid(constraint.low, constraint.high)
        else:
            constraint = constraints.Rescale(
                constraint.low, constraint.high, parameterization.image_range
            )
    elif parameterization.image_range is not None and constraint.low is not None:
        raise ValueError(
            checks.message(
                f"a pair as the input range of {type(parameterization).__name__}, whose images have a "
                "range already",
                f"{constraint!r}",
                "Give (low, high), or the parameterization no range.",
            )
        )
    transforms = tuple(
        (position, part)
        for position, name, part in regularizers
        if name == spec.name and isinstance(part, Transform)
    )
    composed = compose([part for _, part in transforms]) if transforms else None
    return Input(
        spec.name, shape, flat or tuple(spec.shape or ()), parameterization, constraint, preprocess,
        transforms, composed, part_checks.mask(mask, spec.name, shape, constraint), channels,
        flat is not None,
    )  # fmt: skip

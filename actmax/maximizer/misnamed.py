"""Finds the argument that an unknown name means: by the names in other libraries, then by spelling."""

from __future__ import annotations

import difflib
import functools
import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from typing import ParamSpec, TypeVar

from actmax import checks

_P = ParamSpec("_P")
_T = TypeVar("_T")

# What users of Keras, PyTorch, tf-keras-vis, Xplique, lucid and keras-vis call our arguments.
_MEANINGS = {
    "steps": "iterations iters n_iter num_iter num_iterations n_iterations max_iter max_iters "
    "maxiter epochs n_epochs nb_steps n_steps num_steps nsteps thresholds iter",
    "learning_rate": "lr rate eta alpha step_size stepsize",
    "targets": "filter_indices filter_index class_index class_indices class_idx class_id class_list "
    "classes cls indices index idx label y output_index output_indices unit units target neuron "
    "neurons channel channels neuron_ids channel_ids",
    "objective": "loss loss_fn loss_function score scores score_fn layer layer_name layer_id "
    "objective_f objective_function",
    "regularizers": "regularizer regularization regularisers penalties penalty transforms transform "
    "transformations augmentations augmentation input_modifiers modifiers tv_weight tv "
    "tv_reg total_variation total_variation_weight lp_norm_weight l1 l1_weight l2 l2_weight l2_reg "
    "l1_reg weight_decay jitter rotate rotation scale blur noise",
    "initial_images": "seed_input initial_image initial_input start init init_image input_image "
    "image x0 starts start_images",
    "input_range": "bounds bound value_range values_range range clip clip_range clip_values "
    "pixel_range image_range min_max",
    "preprocess": "preprocessing preprocess_fn preprocess_input preprocessing_function normalizer "
    "image_normalizer",
    "images": "batch_size n_images num_images batch n count",
    "seed": "random_state random_seed rng seeds",
    "canvas": "size shape image_size custom_shape img_size resolution",
    "parameterization": "param param_f params use_fft fft parametrization",
    "gradients": "gradient_modifier grad_modifier gradient_modifiers gradient gradient_function",
    "optimizer": "optim opt",
    "labels": "class_names label_names names",
    "callbacks": "callback",
    "verbose": "progress show_progress",
    "precision": "dtype mixed_precision",
    "compile": "jit jit_compile xla",
    "checkpoint": "checkpoint_dir resume ckpt",
    "mask": "masks",
    "copies": "n_copies num_copies augmentation_copies",
}
_MEANT = {word: ours for ours, words in _MEANINGS.items() for word in words.split()}
# What to write, if the name alone is not enough.
_EXAMPLES = {
    "regularizers": "regularizers=[regularizers.TotalVariation(1.0), regularizers.Jitter(2)], each "
    "with its weight or strength in its parentheses",
    "objective": 'objective=actmax.Channel("layer"), or a function of the output',
    "input_range": "input_range=(low, high), of the values that the model was trained on",
    "images": "images=, for objectives without targets; with targets there is one image for each",
    "parameterization": "parameterization=actmax.Fourier(), for example",
    "compile": 'compile="xla"',
}
# Words without a matching argument here.
_NEEDLESS = {
    "model_modifier": "Leave it out: the softmax is bypassed, and the model stays as it is.",
    "clone": "Leave it out: the model stays as it is.",
    "normalize_gradient": "Write gradients=[actmax.Normalize()].",
    "training": "Write lambda images: model(images, training=True) in the place of the model.",
    "unconnected_gradients": "Hold the inputs that the score does not use with fixed=.",
    "restarts": "Write actmax.Maximizer(model, ...).sweep(targets, restarts=4).",
    "out": "Write result = actmax.maximize(...), then result.save(folder).",
    "save_to": "Write result = actmax.maximize(...), then result.save(folder).",
}


def answered(what: str) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """Decorates a function: for an unknown argument, its error names the one that is probably meant.

    Args:
        what: name of the function, for messages.
    """

    def wrap(function: Callable[_P, _T]) -> Callable[_P, _T]:
        known = list(inspect.signature(function).parameters)

        @functools.wraps(function)
        def call(*arguments: _P.args, **named: _P.kwargs) -> _T:
            refuse((name for name in named if name not in known), known, what)
            return function(*arguments, **named)

        return call

    return wrap


def refuse(unknown: Iterable[str], known: Sequence[str], what: str) -> None:
    """Raises TypeError if there is an unknown argument, with what to write in its place."""
    for name in sorted(unknown):
        raise TypeError(checks.message(f"arguments of {what}", repr(name), advice(name, known)))


def advice(name: str, known: Sequence[str]) -> str:
    """A sentence that says what to write in place of an unknown argument."""
    if name in _NEEDLESS:
        return _NEEDLESS[name]
    word = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    meant = _MEANT.get(word, "")
    if meant in known:
        return f"Write {_EXAMPLES.get(meant, f'{meant}=')}."
    near = difflib.get_close_matches(word, known, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known)}."

"""Layers of Keras 2, saved by it in both formats: right within 1e-5, or refused with a remedy that works.

    python -m tests.soak.keras2                  # all layers, with tf_keras
    python -m tests.soak.keras2 --write          # also tests/actmax/keras2_files.zip, for the tests

Needs tf_keras of TensorFlow's version. It is fetched with pip into a temporary folder if it is not there.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import os
import subprocess
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault(
    "TF_USE_LEGACY_KERAS", "1"
)  # for layers of Keras 2 that ask tf.keras for their parts

import numpy as np

STORED = Path(__file__).parents[1] / "actmax" / "keras2_files.zip"
CLOSE = 1e-5
# In the tests, one file each, by turns .h5 and .keras.
IN_TESTS = (
    "Dense hard_sigmoid", "LSTM", "GRU", "SimpleRNN", "Bidirectional LSTM", "TimeDistributed",
    "Conv1DTranspose", "Conv2DTranspose", "DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D",
    "SeparableConv2D", "ConvLSTM2D", "BatchNormalization", "LayerNormalization", "LeakyReLU", "ReLU",
    "PReLU", "ThresholdedReLU", "MultiHeadAttention", "Embedding", "Masking LSTM", "RNN cells",
    "slash", "nested", "operations", "two inputs", "Normalization", "SpectralNormalization",
)  # fmt: skip


def tf_keras():
    """Keras 2, fetched if it is not installed."""
    if importlib.util.find_spec("tf_keras") is None:
        import tensorflow as tf

        version = ".".join(tf.__version__.split(".")[:2])
        folder = tempfile.mkdtemp(prefix="tf_keras")
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder]
        subprocess.run([*command, f"tf_keras~={version}.0"], check=True)
        sys.path.insert(0, folder)
    import tf_keras as found

    return found


def cases(k):  # noqa: PLR0915
    """`{name: model}` of Keras 2, small, each about one layer or one way to write a model."""
    import tensorflow as tf

    layers = k.layers
    found = {}

    def add(name, shape, *parts):
        k.utils.set_random_seed(len(found))
        found[name] = k.Sequential([k.Input(shape), *parts])

    def several(name, shapes, build):
        k.utils.set_random_seed(len(found))
        inputs = [k.Input(shape, name=f"in_{at}") for at, shape in enumerate(shapes)]
        found[name] = k.Model(inputs if len(inputs) > 1 else inputs[0], build(*inputs))

    line, picture, volume = (8, 3), (8, 8, 3), (6, 6, 6, 2)
    films = {1: (4, 8, 2), 2: (4, 6, 6, 2), 3: (3, 4, 4, 4, 1)}
    shapes = {1: line, 2: picture, 3: volume}
    activations = [
        "elu", "exponential", "gelu", "hard_sigmoid", "linear", "mish", "relu", "selu", "sigmoid",
        "softmax", "softplus", "softsign", "swish", "tanh",
    ]  # fmt: skip
    for name in activations:
        add(f"Dense {name}", (4,), layers.Dense(3, activation=name), layers.Dense(2))
        add(f"Activation {name}", (4,), layers.Activation(name))
    add("Dense", (4,), layers.Dense(3, kernel_regularizer="l2", bias_constraint="non_neg"))
    add(
        "Dense float16 policy",
        (4,),
        layers.Dense(3, dtype="mixed_float16"),
        layers.Dense(2, dtype="float32"),
    )
    add(
        "EinsumDense",
        (4, 5),
        layers.EinsumDense("abc,cd->abd", output_shape=(None, 6), bias_axes="d"),
    )
    for rank, shape in shapes.items():
        conv, end = getattr(layers, f"Conv{rank}D"), f"{rank}D"
        add(f"Conv{end}", shape, conv(2, 3, padding="same", dilation_rate=2))
        if rank < 3:
            add(f"Conv{end} groups", (*shape[:-1], 4), conv(4, 3, groups=2))
            add(
                f"DepthwiseConv{end}",
                shape,
                getattr(layers, f"DepthwiseConv{end}")(3, depth_multiplier=2),
            )
            separable = getattr(layers, f"SeparableConv{end}")
            add(
                f"SeparableConv{end}",
                shape,
                separable(2, 3, activation="hard_sigmoid", kernel_regularizer="l1"),
            )
        add(f"Conv{end}Transpose", shape, getattr(layers, f"Conv{end}Transpose")(2, 3, strides=2))
        add(f"ZeroPadding{end}", shape, getattr(layers, f"ZeroPadding{end}")(2))
        add(f"Cropping{end}", shape, getattr(layers, f"Cropping{end}")(1))
        add(f"UpSampling{end}", shape, getattr(layers, f"UpSampling{end}")(2))
        for kind in ("MaxPooling", "AveragePooling"):
            add(
                f"{kind}{end}", shape, getattr(layers, f"{kind}{end}")(2, strides=1, padding="same")
            )
            add(f"Global{kind}{end}", shape, getattr(layers, f"Global{kind}{end}")(keepdims=True))
        add(f"SpatialDropout{end}", shape, getattr(layers, f"SpatialDropout{end}")(0.5))
        recurrent = getattr(layers, f"ConvLSTM{end}")
        add(f"ConvLSTM{end}", films[rank], recurrent(2, 3, return_sequences=True))
    add("UpSampling2D bilinear", picture, layers.UpSampling2D(2, interpolation="bilinear"))
    add("LocallyConnected1D", line, layers.LocallyConnected1D(2, 3))
    add("LocallyConnected2D", picture, layers.LocallyConnected2D(2, 3))
    add("BatchNormalization", picture, layers.Conv2D(2, 3), layers.BatchNormalization())
    add("BatchNormalization axis", picture, layers.BatchNormalization(axis=1, fused=False))
    add("LayerNormalization", line, layers.LayerNormalization())
    add("LayerNormalization axes", picture, layers.LayerNormalization(axis=[1, 2, 3]))
    add("GroupNormalization", (8, 8, 4), layers.GroupNormalization(groups=2))
    add("UnitNormalization", line, layers.UnitNormalization())
    add("SpectralNormalization", picture, layers.SpectralNormalization(layers.Conv2D(2, 3)))
    data = np.random.default_rng(0).normal(2.0, 3.0, [64, 3]).astype("float32")
    normalization = layers.Normalization()
    normalization.adapt(data)
    add("Normalization", (3,), normalization, layers.Dense(2))
    add(
        "Normalization given",
        picture,
        layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[1.0, 4.0, 9.0]),
    )
    for name, cell in (("LSTM", layers.LSTM), ("GRU", layers.GRU), ("SimpleRNN", layers.SimpleRNN)):
        add(name, (6, 4), cell(3), layers.Dense(2))
        add(
            f"{name} stack",
            (6, 4),
            cell(3, return_sequences=True, go_backwards=True),
            cell(2, dropout=0.2),
        )
        gate = "activation" if name == "SimpleRNN" else "recurrent_activation"
        add(f"{name} hard_sigmoid", (6, 4), cell(3, **{gate: "hard_sigmoid"}))
        add(
            f"Bidirectional {name}",
            (6, 4),
            layers.Bidirectional(cell(3, return_sequences=True), merge_mode="sum"),
        )
    add("GRU reset_after", (6, 4), layers.GRU(3, reset_after=False))
    add("LSTM time_major", (6, 4), layers.LSTM(3, time_major=True, return_sequences=True))
    add("LSTM unroll", (6, 4), layers.LSTM(3, unroll=True))
    add("LSTM implementation", (6, 4), layers.LSTM(3, implementation=1, unit_forget_bias=False))
    add(
        "Bidirectional two",
        (6, 4),
        layers.Bidirectional(layers.LSTM(3), backward_layer=layers.LSTM(2, go_backwards=True)),
    )
    add("RNN cells", (6, 4), layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)]))
    add("RNN cell", (6, 4), layers.RNN(layers.SimpleRNNCell(3), return_sequences=True))
    add("TimeDistributed", (6, 4), layers.TimeDistributed(layers.Dense(2)))
    add(
        "TimeDistributed Conv2D",
        (3, *picture),
        layers.TimeDistributed(layers.Conv2D(2, 3, activation="hard_sigmoid")),
    )
    add(
        "TimeDistributed DepthwiseConv2D",
        (3, *picture),
        layers.TimeDistributed(layers.DepthwiseConv2D(3)),
    )
    add(
        "TimeDistributed Bidirectional",
        (3, 6, 4),
        layers.TimeDistributed(layers.Bidirectional(layers.LSTM(2))),
    )
    add("Masking LSTM", (6, 4), layers.Masking(0.5), layers.LSTM(3))
    add(
        "Embedding",
        (6,),
        layers.Embedding(10, 4, input_length=6),
        layers.Flatten(),
        layers.Dense(2),
    )
    add("Embedding mask", (6,), layers.Embedding(10, 4, mask_zero=True), layers.LSTM(3))
    add("LeakyReLU", (4,), layers.LeakyReLU(0.1))
    add("ReLU", (4,), layers.ReLU(1.0, negative_slope=0.1, threshold=0.2))
    add("ELU", (4,), layers.ELU(0.7))
    add("PReLU", picture, layers.PReLU(alpha_initializer="uniform", shared_axes=[1, 2]))
    add("Softmax", line, layers.Softmax(axis=1))
    add("ThresholdedReLU", (4,), layers.ThresholdedReLU(0.5))
    for name in ("Dropout", "GaussianDropout", "AlphaDropout"):
        add(name, (4,), getattr(layers, name)(0.3), layers.Dense(2))
    add("GaussianNoise", (4,), layers.GaussianNoise(0.3))
    add("ActivityRegularization", (4,), layers.ActivityRegularization(l1=0.1))
    add("Flatten", picture, layers.Flatten())
    add("Reshape", picture, layers.Reshape((-1, 6)))
    add("Permute", picture, layers.Permute((3, 1, 2)))
    add("RepeatVector", (4,), layers.RepeatVector(3))
    add("Identity", (4,), layers.Identity())
    add("Rescaling", picture, layers.Rescaling([0.1, 0.2, 0.3], offset=-1.0))
    add("Resizing", picture, layers.Resizing(5, 7, interpolation="bilinear"))
    add("Resizing nearest", picture, layers.Resizing(5, 7, interpolation="nearest"))
    add("Resizing bicubic", picture, layers.Resizing(5, 7, interpolation="bicubic"))
    add("Resizing crop", picture, layers.Resizing(5, 7, crop_to_aspect_ratio=True))
    add("CenterCrop", picture, layers.CenterCrop(5, 4))
    for name, layer in {
        "RandomFlip": lambda: layers.RandomFlip("horizontal"),
        "RandomRotation": lambda: layers.RandomRotation(0.2),
        "RandomZoom": lambda: layers.RandomZoom(0.2),
        "RandomTranslation": lambda: layers.RandomTranslation(0.2, 0.1),
        "RandomContrast": lambda: layers.RandomContrast(0.2),
        "RandomBrightness": lambda: layers.RandomBrightness(0.2),
        "RandomCrop": lambda: layers.RandomCrop(5, 5),
        "RandomHeight": lambda: layers.RandomHeight(0.2),
        "RandomWidth": lambda: layers.RandomWidth(0.2),
    }.items():
        add(name, picture, layer(), layers.Conv2D(2, 3))
    add(
        "Discretization",
        (4,),
        layers.Discretization(bin_boundaries=[-1.0, 0.0, 1.0]),
        layers.Rescaling(1.0),
    )
    add("CategoryEncoding", (1,), layers.CategoryEncoding(5, output_mode="one_hot"))
    for name in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"):
        several(name, [(4,), (4,)], lambda a, b, name=name: getattr(layers, name)()([a, b]))
    several("Dot", [(4, 3), (4, 3)], lambda a, b: layers.Dot(axes=(1, 1), normalize=True)([a, b]))
    several("Attention", [(4, 3), (5, 3)], lambda a, b: layers.Attention(use_scale=True)([a, b]))
    several("AdditiveAttention", [(4, 3), (5, 3)], lambda a, b: layers.AdditiveAttention()([a, b]))
    several("MultiHeadAttention", [(4, 6)], lambda a: layers.MultiHeadAttention(2, 3)(a, a))
    several(
        "MultiHeadAttention cross",
        [(4, 6), (5, 6)],
        lambda a, b: layers.MultiHeadAttention(2, 3, value_dim=4)(a, b),  # noqa: PLW0108
    )
    several(
        "LSTM states",
        [(6, 4)],
        lambda a: layers.Concatenate()(layers.LSTM(3, return_state=True)(a)),
    )
    several(
        "slash",
        [picture],
        lambda a: layers.Dense(2, name="end/dense")(
            layers.Flatten()(layers.Conv2D(4, 3, name="conv1/conv")(a))
        ),
    )
    several(
        "two inputs",
        [(4,), (3,)],
        lambda a, b: layers.Dense(2)(
            layers.Concatenate()([layers.Dense(3)(a), layers.Dense(3)(b)])
        ),
    )
    several(
        "two outputs",
        [(4,)],
        lambda a: [
            layers.Dense(2, name="one")(a),
            layers.Dense(3, activation="hard_sigmoid", name="two")(a),
        ],
    )

    def shared(a, b):
        dense = layers.Dense(3, activation="hard_sigmoid")
        return layers.Add()([dense(a), dense(b)])

    several("shared", [(4,), (4,)], shared)
    inner = k.Sequential(
        [
            k.Input(picture),
            layers.DepthwiseConv2D(3),
            layers.LeakyReLU(0.2),
            layers.GlobalAveragePooling2D(),
        ],
        name="inner",
    )
    add("nested", picture, inner, layers.Dense(2))
    several(
        "nested functional",
        [picture],
        lambda a: layers.Dense(2, activation="hard_sigmoid")(
            k.Sequential([layers.SeparableConv2D(2, 3), layers.Flatten()])(a)
        ),
    )
    several(
        "operations",
        [picture],
        lambda a: layers.Dense(2)(
            layers.Flatten()(k.applications.mobilenet_v2.preprocess_input(a))
        ),
    )
    several(
        "operations of tensors",
        [(4,), (4,)],
        lambda a, b: tf.nn.relu(a * 2.0 - b) / (1.0 + tf.exp(b)),
    )
    several("slices", [(6, 4)], lambda a: layers.Dense(2)(a[:, -1, :]))
    several("reductions", [picture], lambda a: tf.reduce_mean(tf.square(a), axis=[1, 2]))
    several("concatenated", [(4,), (4,)], lambda a, b: tf.concat([tf.sigmoid(a), b], axis=-1))
    several("reshaped", [picture], lambda a: tf.transpose(tf.reshape(a, [-1, 64, 3]), [0, 2, 1]))
    several("Lambda", [(4,)], lambda a: layers.Lambda(lambda x: x * 2.0)(a))  # noqa: PLW0108
    net = k.Sequential(
        [layers.Conv2D(2, 3, input_shape=picture), layers.Flatten(), layers.Dense(2)]
    )
    net.compile("adam", "mse", metrics=["mae"])
    found["compiled"] = net
    net = k.Sequential([layers.LSTM(3, batch_input_shape=(None, 6, 4)), layers.Dense(2)])
    net.compile(k.optimizers.legacy.Adam(1e-3), "mse")
    found["compiled legacy"] = net
    found["MobileNet"] = k.applications.MobileNet(
        input_shape=(32, 32, 3), alpha=0.25, weights=None, classes=3
    )
    return found


def sample(model):
    """One input of a case, `[2, ...]` each, of numbers that its first layer takes."""
    rng = np.random.default_rng(0)
    whole = {"embedding", "category_encoding"}
    first = model.layers[0].name
    low = any(first.startswith(name) for name in whole)
    made = []
    for tensor in model.inputs:
        shape = (2, *(6 if size is None else size for size in tensor.shape[1:]))
        values = rng.integers(0, 5, shape) if low else rng.uniform(-2, 2, shape)
        made.append(values.astype("float32"))
    return made


def outputs(model, given):
    """What a model answers, flat arrays."""
    answer = model(given if len(given) > 1 else given[0], training=False)
    parts = answer if isinstance(answer, (list, tuple)) else [answer]
    return [np.asarray(part) for part in parts]


def difference(mine, theirs):
    """Largest difference over every output; infinite where shapes differ."""
    if [each.shape for each in mine] != [each.shape for each in theirs]:
        return float("inf")
    return max(
        float(np.max(np.abs(a.astype("f8") - b.astype("f8"))))
        for a, b in zip(mine, theirs, strict=True)
    )


def mean_of_each(output):
    """`[N, ...] -> [N]`."""
    import tensorflow as tf

    return tf.reduce_mean(output, axis=list(range(1, output.shape.rank)))


def remedy(k, said, path, given, theirs):
    """Whether the way that the refusals name works: Keras 2 itself, and the object handed over."""
    import actmax

    if "trusted=True" in said:
        again = actmax.load_model(path, trusted=True)
        return (
            "opens" if difference(outputs(again, given), theirs) <= CLOSE else "answers otherwise"
        )
    again = k.models.load_model(
        path, compile=False, **({"safe_mode": False} if path.suffix == ".keras" else {})
    )
    if difference(outputs(again, given), theirs) > CLOSE:
        return "Keras 2 answers otherwise"
    if len(given) > 1 or len(theirs) > 1:
        return "opens"
    call = {
        "input_shape": given[0].shape[1:],
        "input_range": (-2, 2),
        "regularizers": [],
        "steps": 2,
    }
    result = actmax.maximize(again, mean_of_each, images=1, **call)
    return "works" if np.isfinite(result.scores).all() else "no finite score"


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", help="names of cases")
    parser.add_argument("--write", action="store_true", help=f"write {STORED.name}")
    options = parser.parse_args(arguments)
    k = tf_keras()
    import actmax

    folder = Path(tempfile.mkdtemp(prefix="keras2"))
    bad, counts, stored = [], {"opens": 0, "refused": 0, "not saved": 0}, {}
    for name, model in cases(k).items():
        if options.only and name not in options.only:
            continue
        given = sample(model)
        theirs = outputs(model, given)
        for suffix in ("h5", "keras"):
            path = folder / f"{name.replace(' ', '_')}.{suffix}"
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    model.save(path)
            except Exception as error:
                counts["not saved"] += 1
                print(f"{name:32s} .{suffix:5s} Keras 2 does not save it: {str(error)[:80]}")
                continue
            digest = path.read_bytes()
            try:
                new = actmax.load_model(path)
                gap = difference(outputs(new, given), theirs)
                fine = gap <= CLOSE
                counts["opens"] += 1
                print(
                    f"{name:32s} .{suffix:5s} opens, difference {gap:.2g}{'' if fine else '   WRONG'}"
                )
            except actmax.ModelFileError as error:
                counts["refused"] += 1
                way = remedy(k, str(error), path, given, theirs)
                fine = way in ("works", "opens")
                print(f"{name:32s} .{suffix:5s} refused, the remedy {way}: {error}")
            if not fine:
                bad.append(f"{name} .{suffix}")
            if path.read_bytes() != digest:
                bad.append(f"{name} .{suffix} was written to")
            if name in IN_TESTS and suffix == ("h5", "keras")[IN_TESTS.index(name) % 2]:
                arrays = io.BytesIO()
                numbered = {f"in_{at}": value for at, value in enumerate(given)}
                numbered |= {f"out_{at}": value for at, value in enumerate(theirs)}
                np.savez_compressed(arrays, **numbered)
                stored[path.name] = (digest, arrays.getvalue())
    print(json.dumps(counts), "wrong:", bad or "none")
    if options.write:
        with zipfile.ZipFile(STORED, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for name, (content, arrays) in stored.items():
                for member, data in ((name, content), (f"{name}.npz", arrays)):
                    archive.writestr(zipfile.ZipInfo(member), data, zipfile.ZIP_DEFLATED)
        print(f"{STORED}: {STORED.stat().st_size} bytes, {len(stored)} files")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())

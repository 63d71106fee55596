"""Paths of layers: the names that are given or stored, and attribute and place where Keras counts."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
import pytest

import actmax
from actmax import models
from actmax.models import structure

L = keras.layers


class Tower(L.Layer):
    """Equal layers without names, in every kind of attribute."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.first = L.Dense(3)
        self._hidden = L.Dense(3)
        self.steps = [L.Dense(3), [L.Dense(3), (L.Dense(3),)]]
        self.heads = {"a": L.Dense(3), "b": L.Dense(3)}
        self.named = L.Dense(3, name="given")
        self.twice = [L.Dense(3, name="same"), L.Dense(3, name="same")]
        self.inner = keras.Sequential(
            [L.Dense(3), L.Dense(3), L.Softmax(), L.Dense(3, name="known")]
        )
        self.both = L.Bidirectional(L.LSTM(3))

    def build(self, shape: Any) -> None:
        self.first.build(shape)

    def call(self, x: Any) -> Any:
        return self.first(x)


TOWER = {
    "first": lambda t: t.first,
    "hidden": lambda t: t._hidden,
    "steps/0": lambda t: t.steps[0],
    "steps/1/0": lambda t: t.steps[1][0],
    "steps/1/1/0": lambda t: t.steps[1][1][0],
    "heads/a": lambda t: t.heads["a"],
    "heads/b": lambda t: t.heads["b"],
    "given": lambda t: t.named,
    "twice/0": lambda t: t.twice[0],
    "twice/1": lambda t: t.twice[1],
    "inner": lambda t: t.inner,
    "inner/layers/0": lambda t: t.inner.layers[0],
    "inner/layers/1": lambda t: t.inner.layers[1],
    "inner/softmax": lambda t: t.inner.layers[2],
    "inner/known": lambda t: t.inner.layers[3],
    "both": lambda t: t.both,
    "both/forward_layer": lambda t: t.both.forward_layer,
    "both/forward_layer/lstm_cell": lambda t: t.both.forward_layer.cell,
    "both/backward_layer": lambda t: t.both.backward_layer,
    "both/backward_layer/lstm_cell": lambda t: t.both.backward_layer.cell,
}


def _model(before: int) -> keras.Model:
    for _ in range(before):
        L.Dense(1), L.LSTM(1), L.Softmax(), keras.Sequential()
    entered = keras.Input((3,))
    return keras.Model(entered, Tower(name="tower")(entered))


def test_layers_of_a_class_go_by_attribute_and_place_whatever_was_made_before() -> None:
    for before in (0, 3):
        model = _model(before)
        found = models.layers(model)
        tower = found.pop("tower")
        assert found == {f"tower/{path}": pick(tower) for path, pick in TOWER.items()}


def test_names_that_are_stored_with_the_model_stay() -> None:
    entered = keras.Input((4, 3))
    inner = keras.Sequential([L.TimeDistributed(L.Dense(3)), L.Bidirectional(L.LSTM(3))])
    cells = L.RNN([L.LSTMCell(2), L.LSTMCell(3)])
    model = keras.Model(entered, [inner(entered), cells(entered)])
    paths = actmax.layer_paths(model)
    spread, both = inner.layers
    assert paths[:3] == (
        inner.name,
        f"{inner.name}/{spread.name}",
        f"{inner.name}/{spread.name}/{spread.layer.name}",
    )
    assert f"{inner.name}/{both.name}/{both.forward_layer.name}/lstm_cell" in paths
    assert f"{cells.name}/{cells.cell.name}/{cells.cell.cells[1].name}" in paths
    again = keras.Model.from_config(model.get_config())
    assert actmax.layer_paths(again) == paths


def test_a_functional_subclass_with_a_constructor_of_its_own_is_not_stored_by_its_layers() -> None:
    class Net(keras.Model):
        def __init__(self) -> None:
            entered = keras.Input((3,))
            hidden = L.Dense(3)
            self.kept = L.Dense(2)
            outputs = L.Dense(2, name="out")(self.kept(hidden(entered)))
            super().__init__(entered, outputs)

    L.Dense(1)
    assert actmax.layer_paths(Net()) == ("layers/1", "kept", "out")


def test_a_path_by_keras_own_numbers_is_understood_where_one_layer_has_it() -> None:
    model = _model(2)
    tower = model.get_layer("tower")
    old = f"tower/{tower.steps[1][0].name}"
    with pytest.warns(FutureWarning, match="Write 'tower/steps/1/0'"):
        assert structure.lasting(model, old + ":0") == "tower/steps/1/0:0"
    with pytest.warns(FutureWarning):
        assert structure.find_layer(model, old) is tower.steps[1][0]
    called = f"tower/{tower.first.name}"
    shape = model.input_shape[1:]
    images = np.random.default_rng(0).uniform(size=(1, *shape)).astype("float32")
    settings: dict[str, Any] = {"input_range": (0, 1), "regularizers": []}
    scores = []
    for path in (called, "tower/first"):
        with warnings.catch_warnings(record=True):
            warnings.simplefilter("always")
            channel = actmax.Channel(path)
            run = actmax.maximize(
                model, channel, targets=[0], steps=0, initial_images=images, **settings
            )
        scores.append(run.scores[0])
    assert scores[0] == scores[1]
    with (
        pytest.warns(FutureWarning, match="Write 'tower/first'"),
        pytest.raises(ValueError, match=r"counts in each process anew\. Write 'tower/first'"),
    ):
        actmax.catalog(model, [actmax.Channel(called)], out="nowhere", steps=1, **settings)
    with pytest.raises(ValueError, match=r"Did you mean 'tower/twice/0', 'tower/twice/1'\?"):
        structure.find_layer(model, "tower/same")

"""Calls of layers as Keras 2 wrote them, `[name, node, tensor, keywords]`, in the words of Keras 3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_CONSTANT = "_CONSTANT_VALUE"


class Graph:
    """The layers of one functional model by their old names, and how calls refer to them."""

    def __init__(self, layers: Mapping[str, Mapping[str, Any]], renamed: Mapping[str, str]) -> None:
        self._layers, self._renamed = layers, renamed

    def calls(self, written: list[Any]) -> list[dict[str, Any]]:
        """`inbound_nodes` of one layer."""
        return [self._call(node) for node in written]

    def ends(self, written: Any) -> Any:
        """`input_layers` or `output_layers`; a list of one is that one, as Keras 2 took it."""
        if _is_place(written, self._layers):
            return self._place(written)
        if isinstance(written, Mapping):
            return {key: self.ends(value) for key, value in written.items()}
        if isinstance(written, list):
            inner = [self.ends(value) for value in written]
            return inner[0] if len(inner) == 1 else inner
        return written

    def _call(self, node: Any) -> dict[str, Any]:
        keywords: dict[str, Any] = {}
        first = self._first(node, keywords)
        if isinstance(first, list) and len(first) == 1:
            first = first[0]
        given = {key: self._value(value) for key, value in keywords.items()}
        if isinstance(first, (int, float, bool)) or _is_constant(node):
            # Keras 3 takes only tensors by their place.
            return {"args": [], "kwargs": {"inputs": first, **given}}
        return {"args": [first], "kwargs": given}

    def _first(self, node: Any, keywords: dict[str, Any]) -> Any:
        """The first argument of a call; the keywords stand beside each of its tensors."""
        if isinstance(node, list) and node and isinstance(node[0], str):
            if len(node) > 3 and isinstance(node[3], Mapping):
                keywords.update(node[3])
            if node[0] == _CONSTANT:
                return node[2]
            return self._tensor(node) if _is_place(node[:3], self._layers) else node
        if isinstance(node, list):
            return [self._first(value, keywords) for value in node]
        if isinstance(node, Mapping):
            return {key: self._first(value, keywords) for key, value in node.items()}
        return node

    def _value(self, value: Any) -> Any:
        if _is_place(value, self._layers):
            return self._tensor(value)
        if isinstance(value, list):
            return [self._value(each) for each in value]
        if isinstance(value, Mapping):
            return {key: self._value(each) for key, each in value.items()}
        return value

    def _tensor(self, place: list[Any]) -> dict[str, Any]:
        # Shape and type are looked up by Keras at the layer itself; these only have to be there.
        settings = {"shape": [None], "dtype": "float32", "keras_history": self._place(place)}
        return {"class_name": "__keras_tensor__", "config": settings}

    def _place(self, place: list[Any]) -> list[Any]:
        name, node, tensor = place[:3]
        layer = self._layers[name]
        # In Keras 2 the call that a model was made with counts as its first; in Keras 3 it does so for
        # functional models alone.
        if layer["class_name"] == "Sequential" and node > 0:
            node -= 1
        return [self._renamed.get(name, name), node, tensor]


def _is_constant(node: Any) -> bool:
    while isinstance(node, list) and len(node) == 1:
        node = node[0]
    return isinstance(node, list) and bool(node) and node[0] == _CONSTANT


def _is_place(value: Any, layers: Mapping[str, Any]) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and isinstance(value[0], str)
        and value[0] in layers
        and all(isinstance(each, int) for each in value[1:])
    )

"""A copy of a model in which some operations are replaced; all else is as it was, and shares nothing with it.

graphs (Functional, Sequential)      run again over copies of their layers
layers                               made again from their configuration, then given the same values
layers that hold replaced ones       copies whose attributes are exchanged
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from typing import Any

import keras

from depool.errors import Refused
from depool.keras.arrays import array
from depool.keras.graph import graph, inside, walk
from depool.keras.spec import builtin

OWN = {"_layers", "_metrics", "_tracker", "_functional", "_inbound_nodes", "_outbound_nodes", "_modules"}
"""Attributes with which Keras and its backends keep their own accounts."""


def rebuilt(model: keras.Model, replacements: Mapping[int, keras.Model]) -> keras.Model:
    """The copy, with the same names, values, trainable flags and compile state.

    Args:
        model: stays as it is.
        replacements: by id, what stands in the place of an operation.

    Raises:
        Refused: NOT_REBUILT, where a layer cannot be made again, or not be reached.
    """
    copier = _Copier(model, replacements)
    with keras.saving.custom_object_scope(copier.custom):
        new = copier.copy(model)
        try:
            if graph(model) is None:
                new.build_from_config(model.get_build_config())
            copier.fill()
        except Refused:
            raise
        except Exception as error:
            raise _not_rebuilt(f"{model.name} ({type(model).__name__})", str(error)) from error
    for _, op, _ in [("", model, False), *walk(model)]:
        if graph(op) is not None and id(op) in copier.copies:
            made = copier.copies[id(op)]
            made.dtype_policy, made.trainable = op.dtype_policy, op.trainable
    for a, b in (*copier.layers, *copier.variables):  # what is inside comes later, and has the last word
        b.trainable = a.trainable
    for made in replacements.values():
        made.trainable = False
    _compile(model, new, {id(a): b for a, b in copier.variables})
    return new


class _Copier:
    """Copies by id of what they are copies of; filled with values once all of them are built."""

    def __init__(self, model: keras.Model, replacements: Mapping[int, keras.Model]) -> None:
        self.replacements = replacements
        self.copies: dict[int, Any] = dict(replacements)
        self.pairs: list[tuple[Any, Any]] = []
        self.layers: list[tuple[Any, Any]] = []
        self.variables: list[tuple[Any, Any]] = []
        ops = [model, *(op for _, op, _ in walk(model))]
        self.custom = {type(op).__name__: type(op) for op in ops if not builtin(type(op))}
        self.holders = {id(op) for op in ops if any(id(inner) in replacements for inner in inside(op))}

    def copy(self, op: Any) -> Any:
        """The copy of an operation, always the same one."""
        if id(op) not in self.copies:
            whole = graph(op)
            try:
                self.copies[id(op)] = self._layer(op) if whole is None else self._graph(op)
            except Refused:
                raise
            except Exception as error:
                raise _not_rebuilt(f"{op.name} ({type(op).__name__})", str(error)) from error
        return self.copies[id(op)]

    def _graph(self, op: Any) -> Any:
        if isinstance(op, keras.Sequential):
            inputs = [_input(tensor) for tensor in op.inputs]
            return type(op)([*inputs, *map(self.copy, op.layers)], name=op.name)
        bare = keras.Model(op.input, op.output, name=op.name)  # the same graph, without compile state
        inputs = keras.tree.map_structure(_input, op.input)
        new = keras.models.clone_model(bare, input_tensors=inputs, clone_function=self.copy)
        return new if builtin(type(op)) else type(op)(new.input, new.output, name=op.name)

    def _layer(self, op: Any) -> Any:
        if isinstance(op, keras.layers.Lambda):  # its configuration would have to hold code
            options = {"name": op.name, "dtype": op.dtype_policy}
            made = type(op)(op.function, op._output_shape, op.mask, op.arguments, **options)
        else:
            made = type(op).from_config(op.get_config())
        if isinstance(op, keras.Layer):
            both = op._flatten_layers(), made._flatten_layers()
            if [type(layer) for layer in both[0]] == [type(layer) for layer in both[1]]:
                for a, b in zip(*both, strict=True):
                    b.name = a.name  # a layer that has no name in its configuration was given a new one
            self.pairs.append((op, made))
        return made

    def fill(self) -> None:
        """Give every copy the values of its original, then exchange what it holds."""
        for op, made in self.pairs:  # grows as holders are exchanged
            self.variables += _same_values(op, made)
            self.layers += zip(op._flatten_layers(), made._flatten_layers(), strict=True)
            if id(op) in self.holders:
                self._exchange_in(op, made)

    def _exchange_in(self, op: Any, made: Any) -> None:
        for name, old in _attributes(op).items():
            if not any(id(layer) in self.replacements or id(layer) in self.holders for layer in _layers(old)):
                continue
            held = getattr(made, name)
            wanted = self._exchanged(old, held)
            if wanted is not held:
                made._tracker.unlock()
                for gone in _layers(held):
                    if not any(gone is kept for kept in _layers(wanted)):
                        made._tracker.untrack(gone)
                setattr(made, name, wanted)
                made._tracker.lock()

    def _exchanged(self, old: Any, held: Any) -> Any:
        """What an attribute of the copy shall hold, where it holds `held` and the original holds `old`."""
        if isinstance(old, (list, tuple)):
            wanted = [self._exchanged(*pair) for pair in zip(old, held, strict=True)]
            return held if all(a is b for a, b in zip(wanted, held, strict=True)) else type(held)(wanted)
        if isinstance(old, dict):
            found = {key: self._exchanged(value, held[key]) for key, value in old.items()}
            return held if all(found[key] is held[key] for key in found) else found
        if id(old) in self.replacements:
            return self.replacements[id(old)]
        if id(old) in self.holders:
            if graph(old) is not None:
                return self.copy(old)
            self._exchange_in(old, held)
        return held


def _attributes(op: Any) -> dict[str, Any]:
    """The attributes that the layer's own code has set; with PyTorch, modules lie apart from the others."""
    found = {**vars(op), **vars(op).get("_modules", {})}
    return {name: value for name, value in found.items() if name not in OWN and not name.startswith("_self_")}


def _layers(value: Any) -> list[Any]:
    """The layers that an attribute holds."""
    if isinstance(value, dict):
        return [layer for item in value.values() for layer in _layers(item)]
    if isinstance(value, (list, tuple)):
        return [layer for item in value for layer in _layers(item)]
    return [value] if isinstance(value, keras.Layer) else []


def _input(tensor: Any) -> Any:
    layer = tensor._keras_history[0]
    return keras.Input(
        batch_shape=tensor.shape,
        dtype=tensor.dtype,
        sparse=tensor.sparse,
        name=tensor.name,
        optional=getattr(layer, "optional", False),
    )


def _same_values(op: Any, made: Any) -> list[tuple[Any, Any]]:
    """Give a copy the values of its original; the variables of both."""
    if not made.built and op.built:
        made.build_from_config(op.get_build_config())
    pairs = list(zip(op.variables, made.variables, strict=False))
    alike = all(tuple(a.shape) == tuple(b.shape) for a, b in pairs)
    if len(op.variables) != len(made.variables) or not alike:
        raise _not_rebuilt(f"{op.name} ({type(op).__name__})", "its copy has other variables")
    for a, b in zip(op._flatten_layers(), made._flatten_layers(), strict=True):
        _same_state(a, b)
    _assign(pairs)  # last, since Keras' own layers store some variables otherwise than they hold them
    return pairs


def _same_state(op: Any, made: Any) -> None:
    """Give one copied layer what its original's class would write into a file, such as a table or means.

    Keras' default, which stores the layer's variables alone, is left to `_assign`.
    """
    default = keras.Layer.save_own_variables, keras.Layer.load_own_variables
    if (type(op).save_own_variables, type(op).load_own_variables) != default:
        store: dict[str, Any] = {}
        op.save_own_variables(store)
        made.load_own_variables({key: array(value) for key, value in store.items()})
    if hasattr(op, "save_assets"):
        with tempfile.TemporaryDirectory() as folder:
            op.save_assets(folder)
            made.load_assets(folder)


def _assign(pairs: Iterable[tuple[Any, Any]]) -> None:
    """Second variables get the values of the first, in memory of their own (JAX would share and later free it)."""
    for a, b in pairs:
        b.assign(keras.ops.copy(a))


def _compile(model: keras.Model, new: keras.Model, counterparts: Mapping[int, Any]) -> None:
    """The same optimizer with its state, the same losses, and metrics that start anew."""
    if not model.compiled:
        return
    if type(model).compile.__module__.partition(".")[0] != "keras":
        new.compile_from_config(model.get_compile_config())
        return
    words = dict(model._compile_config.config)
    for name in ("optimizer", "metrics", "weighted_metrics"):
        words[name] = keras.tree.map_structure(_fresh, words[name])
    new.compile(**words)
    if model.optimizer is not None and model.optimizer.built:
        trained = getattr(model.optimizer, "inner_optimizer", model.optimizer)._trainable_variables
        new.optimizer.build([counterparts[id(v)] for v in trained])  # some may have been frozen since
        _assign(zip(model.optimizer.variables, new.optimizer.variables, strict=True))


def _fresh(value: Any) -> Any:
    again = isinstance(value, (keras.Metric, keras.optimizers.Optimizer))
    return type(value).from_config(value.get_config()) if again else value


def _not_rebuilt(what: str, why: str) -> Refused:
    return Refused(
        "NOT_REBUILT",
        f"{what} cannot be copied: {' '.join(why.split())[:200]}.",
        "Give its class get_config and from_config that make it again, or build the model from such layers.",
    )

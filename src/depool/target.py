"""What a consumer of the converted model accepts, as data: presets, and targets of the user's own from a TOML file.

A file holds one table, named like the target; its keys are the attributes of `Target`. `like` names a preset to start
from. `targets.toml`, beside this file, holds the presets in the same form, each with its evidence.

    [my-npu]
    like = "portable"
    about = "the compiler of our board"
    largest_kernel = 7
"""

from __future__ import annotations

import datetime as dt
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from depool.errors import FileError, UsageError

Batch = Literal["any", "symbolic", "fixed"]
Minimise = Literal["writes", "relus"]
Bounds = Literal["none", "interval", "linear", "exact"]
WORDS = {"batch": get_args(Batch), "minimise": get_args(Minimise), "bounds": get_args(Bounds)}
NUMBERS = {"largest_kernel": 1, "call": 0, "block": 1}
"""What a number may be at least."""
SUFFIX = ".toml"


@dataclass(frozen=True)
class Evidence:
    """Where a target's limits come from.

    Attributes:
        consumer: the program and its version.
        date: of the run, as YYYY-MM-DD.
        ran: what was run, and what came of it.
        test: the test that repeats it, as pytest names it, or ``not run here: `` and why.
    """

    consumer: str
    date: str
    ran: str
    test: str


@dataclass(frozen=True)
class Target:
    """A consumer's limits.

    Attributes:
        name: as given to ``--target``.
        about: one line for people.
        operators: the operators it reads, as far as a list is known; empty where there is none.
        groups: accepts group > 1; else one dense block-diagonal kernel.
        dilation: accepts dilations > 1; else kernels are extended by zeros.
        asymmetric_pads: accepts different pads at the two ends; else kernels are extended by zeros.
        auto_pad: reads auto_pad, which only pools of dynamic size with SAME_* pads need.
        padding: accepts pads at all; else pools that need them are refused.
        mixed_axes: accepts strides and pads that differ between the axes; else the tree is taken, and pads are evened
            out by zeros in the kernels.
        branches: accepts Add and Concat of computed tensors; else one chain of Conv and Relu.
        spatial_concat: accepts a Concat along a spatial axis; else the border of a signed input is not repeated.
        reshape: accepts a Reshape that folds channels into the batch; else there is no ``folded`` layout.
        bias: accepts a bias; else pools that need one are refused.
        fuses: runs a convolution and the Add and Relu behind it as one pass.
        call: what calling a convolution costs before it computes anything, in elements of a channel. Where it is not 0,
            nothing is copied for an Add.
        block: of how many channels, or a multiple, it has fast convolutions by channels.
        largest_kernel: the longest side of a kernel it accepts; None where there is no limit.
        attributes: attributes that must be written out, by operator; depool always writes those of its own nodes.
        names: wants every node named, which depool's own nodes are.
        batch: of the model's inputs: any, symbolic (no number) or fixed (a number).
        minimise: what its work grows with: elements written, or ReLUs.
        bounds: how it bounds values, if it does: by plain intervals, linear relaxations, or exactly.
        messages: its own words where it refuses something, by operator or by the limit's name above.
        silent: what goes wrong without any word, by the same keys.
        evidence: where all this comes from.
    """

    name: str
    about: str
    operators: tuple[str, ...] = ()
    groups: bool = True
    dilation: bool = True
    asymmetric_pads: bool = True
    auto_pad: bool = True
    padding: bool = True
    mixed_axes: bool = True
    branches: bool = True
    spatial_concat: bool = True
    reshape: bool = True
    bias: bool = True
    fuses: bool = True
    call: int = 0
    block: int = 4
    largest_kernel: int | None = None
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    names: bool = False
    batch: Batch = "any"
    minimise: Minimise = "writes"
    bounds: Bounds = "none"
    messages: Mapping[str, str] = field(default_factory=dict, hash=False)
    silent: Mapping[str, str] = field(default_factory=dict, hash=False)
    evidence: tuple[Evidence, ...] = ()

    @property
    def form(self) -> str:
        """The form where the user names none. Branches need fewest ReLUs, and keep linear relaxations tight."""
        return "branched" if self.branches else "sequential"

    @property
    def large_constants(self) -> bool:
        """Whether constants of the size of MAX are harmless. They are not where values are bounded or solved for."""
        return self.bounds == "none"

    @property
    def copies(self) -> bool:
        """Whether a convolution that copies a tensor for an Add, as one pass, costs no more than the Add alone."""
        return self.fuses and not self.call

    @property
    def channels(self) -> str:
        """The layout that is chosen where the user names none."""
        return "grouped" if self.groups else "dense"


def named(target: str | Target) -> Target:
    """The target of this name, of this file, or itself.

    Raises:
        UsageError: where there is none, or the file makes no sense.
        FileError: where the file cannot be read.
    """
    if isinstance(target, Target):
        return target
    if target.endswith(SUFFIX):
        return read(target)
    return preset(target)


def preset(name: str) -> Target:
    """The preset of this name.

    Raises:
        UsageError: where there is none.
    """
    if name not in PRESETS:
        raise UsageError(f"unknown target {name!r}; choose one of {', '.join(PRESETS)}, or give a {SUFFIX} file")
    return PRESETS[name]


def read(path: str | os.PathLike[str]) -> Target:
    """The one target of a TOML file.

    Raises:
        UsageError: where its table makes no sense; says which key.
        FileError: where it cannot be read, or is no TOML.
    """
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileError(f"{path}: is no TOML ({error})") from error
    if len(tables) != 1 or not all(isinstance(table, dict) for table in tables.values()):
        raise UsageError(f"{path}: must hold one table, [NAME], with the target's limits, such as like = 'portable'")
    ((name, table),) = tables.items()
    try:
        return _target(name, table, PRESETS)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def _shipped() -> dict[str, Target]:
    """The presets, in the file's order; each may start from one above it."""
    found: dict[str, Target] = {}
    text = Path(__file__).with_name("targets.toml").read_text(encoding="utf-8")
    for name, table in tomllib.loads(text).items():
        found[name] = _target(name, table, found)
    return found


def _target(name: str, table: dict[str, Any], presets: Mapping[str, Target]) -> Target:
    """A table as a target, over the limits of the preset that `like` names; evidence is not passed on."""
    given = dict(table)
    like = given.pop("like", None)
    if like is not None and like not in presets:
        raise UsageError(f"[{name}] like = {like!r} is no preset; choose one of {', '.join(presets)}")
    keys = [f.name for f in fields(Target) if f.name != "name"]
    values: dict[str, Any] = {}
    if like is not None:
        values = {key: getattr(presets[like], key) for key in keys if key != "evidence"}
    for key, value in given.items():
        if key not in keys:
            raise UsageError(f"[{name}] {key}: no target has this key; choose from {', '.join(keys)}, like")
        try:
            values[key] = _value(key, value)
        except (TypeError, ValueError) as error:
            raise UsageError(f"[{name}] {key} = {value!r}: {error}") from None
    if not values.get("about"):
        raise UsageError(f"[{name}] about: say in one line what the target is")
    return Target(name=name, **values)


def _value(key: str, value: Any) -> Any:
    """A value of the file as an attribute.

    Raises:
        TypeError, ValueError: say what is expected.
    """
    if key in WORDS:
        if value not in WORDS[key]:
            raise ValueError(f"choose one of {', '.join(WORDS[key])}")
        return value
    if key == "about":
        return _text(value)
    if key == "operators":
        return _texts(value)
    if key == "attributes":
        return {op: _texts(listed) for op, listed in _table(value).items()}
    if key in {"messages", "silent"}:
        return {what: _text(said) for what, said in _table(value).items()}
    if key == "evidence":
        return tuple(_evidence(entry) for entry in value)
    if key in NUMBERS:
        if not isinstance(value, int) or isinstance(value, bool) or value < NUMBERS[key]:
            raise ValueError(f"a number of at least {NUMBERS[key]} is expected")
        return value
    if not isinstance(value, bool):
        raise TypeError("true or false is expected")
    return value


def _evidence(entry: Any) -> Evidence:
    table = _table(entry)
    if set(table) != {f.name for f in fields(Evidence)}:
        raise ValueError("consumer, date, ran and test are expected")
    date = table["date"]
    if not isinstance(date, dt.date):
        raise TypeError("date must be a date, such as 2026-11-26")
    return Evidence(_text(table["consumer"]), date.isoformat(), _text(table["ran"]), _text(table["test"]))


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("a text is expected")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError("a list of texts is expected")
    return tuple(map(_text, value))


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("a table is expected")
    return value


PRESETS = _shipped()
GENERIC, PORTABLE = PRESETS["generic"], PRESETS["portable"]

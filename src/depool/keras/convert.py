"""Find -> plan -> lower -> build, over one Keras model."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import keras

from depool.adaptive import choose_adaptive
from depool.choice import Channels, Choice, FormName, Scheme
from depool.choose import choose
from depool.conversion import Conversion
from depool.errors import NotConverted, Refused, UsageError
from depool.geometry import PoolSpec
from depool.keras.build import Place, layers_of
from depool.keras.equality import check_copy
from depool.keras.fast import fast_layout
from depool.keras.find import Left, PoolSite, find
from depool.keras.folded import MOST_AXES
from depool.keras.graph import operations
from depool.keras.rebuild import rebuilt
from depool.numerics import TYPES
from depool.objects import Converted, Wishes
from depool.plan.horner import Described, described, whole
from depool.program import Conv
from depool.record import Record

SMALL = 5
"""The longest side of a window of which all taps are taken in one stage."""


def convert(
    model: keras.Model,
    *,
    scheme: Scheme = "auto",
    form: FormName = "auto",
    channels: Channels = "auto",
    exact: bool = False,
    pairing: str = "ab|cd",
    pools: str = "all",
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    assume_nonnegative: bool = False,
    allow_partial: bool = False,
) -> keras.Model:
    """A copy of a Keras model whose pooling layers are convolutions, ReLUs and additions with fixed weights.

    Each pool becomes a small Functional model of the same name, made of Keras' own layers. Everything else is kept:
    names, weights, shared and nested models, trainable flags, dtype policies, compile state.

    Args:
        model: Functional, Sequential, or subclassed with get_config; built. It stays as it is. It is run once in
            evaluation, on random numbers, to see that its copy computes the same.
        scheme: which maxima: ``tree``, ``separable``, ``horner``, ``shallow`` or ``auto``.
        form: ``branched``, ``concat`` (the published network), ``sequential`` or ``auto``.
        channels: ``grouped``, ``depthwise``, ``dense``, ``folded`` (into one more spatial axis) or ``auto``, what is
            fast on the running backend.
        exact: bit-exact for all ``|x| <= MAX / 2``.
        pairing: of a 2x2 tree: ``ab|cd``, ``ac|bd`` or ``ad|bc``.
        pools: ``all``, or ``max`` to leave average pools.
        only: patterns of the names or paths (``block/pool1``) of pools to convert.
        skip: patterns of pools to leave.
        assume_nonnegative: the inputs of the selected pools are known to be >= 0.
        allow_partial: leave refused pools as they are instead of failing.

    Returns:
        The new model; its attribute `depool` is a `Converted`: what was done, pool by pool, in this conversion and in
        those before it.

    Raises:
        NotConverted: a selected pool was refused, or the model cannot be copied.
        UsageError: an argument makes no sense.
    """
    choice = Choice(scheme, form, channels, "keras", exact, pairing)
    return convert_model(model, Wishes(choice, pools, tuple(only), tuple(skip), assume_nonnegative, allow_partial))


def convert_model(model: keras.Model, wishes: Wishes) -> keras.Model:
    """`convert`, with its arguments as an object.

    Raises:
        NotConverted, UsageError: as `convert`.
    """
    if not isinstance(model, keras.Model):
        raise UsageError(f"a keras.Model is needed, not {type(model).__name__}")
    found = list(find(model, wishes))
    if wishes.only and not any(isinstance(item, PoolSite) or item.selected for item in found):
        raise UsageError(f"no pool is named like {', '.join(wishes.only)}")
    done: list[tuple[PoolSite, Conversion]] = []
    refusals = [item.refusal for item in found if isinstance(item, Left) and item.selected]
    for item in found:
        if isinstance(item, PoolSite):
            try:
                done.append(planned(item, wishes.choice))
            except Refused as refused:
                refusals.append(replace(refused.refusal, where=item.where))
    if refusals and not wishes.allow_partial:
        raise NotConverted(tuple(refusals))
    made = {id(site.pool.op): _built(site, conversion) for site, conversion in done}
    try:
        new = rebuilt(model, made)
        _check_places(new, done, made)
        check_copy(model, new, {site.where: (site.pool.op, made[id(site.pool.op)]) for site, _ in done})
    except Refused as refused:
        raise NotConverted((refused.refusal,)) from refused
    earlier: Converted = getattr(model, "depool", Converted((), (), (), ()))  # what it did stands at the same paths
    new.depool = Converted(
        (*earlier.records, *(_record(*pair) for pair in done)),
        (*earlier.conversions, *(conversion for _, conversion in done)),
        tuple(refusals),
        tuple(item.refusal for item in found if isinstance(item, Left) and not item.selected),
    )
    return new


def planned(site: PoolSite, choice: Choice) -> tuple[PoolSite, Conversion]:
    """How a pool becomes convolutions, and for which sizes.

    A layer's own code may call its pool with other sizes than those seen, so there a program for all sizes is
    preferred; where there is none, the new model accepts only the sizes seen.

    Raises:
        Refused: where it cannot.
    """
    wanted = replace(choice, target="keras")
    if choice.channels == "auto":
        wanted = replace(wanted, channels=fast_layout(site.pool.kind, len(site.sizes), choice.form))
    if wanted.channels == "folded" and len(site.sizes) > MOST_AXES:
        raise Refused(
            "TARGET_LACKS",
            "target keras takes no convolution over four axes, as a pool over three with its channels in an axis of "
            "their own would need.",
            "Choose channels='grouped', or leave channels out.",
        )
    if site.inside and any(site.sizes):
        try:
            return planned(replace(site, sizes=(None,) * len(site.sizes)), choice)
        except Refused:
            pass
    made = _chosen(site, wanted)
    return site, _fast_scheme(site, wanted, made) if choice.scheme == "auto" else made


def _fast_scheme(site: PoolSite, wanted: Choice, made: Conversion) -> Conversion:
    """Another plan than that of least work, where the backend rewards it."""
    if wanted.channels == "folded" and made.scheme == "tree":
        with suppress(Refused, UsageError):  # such as of pads known at run time only, or with a pairing of the tree
            return _chosen(site, replace(wanted, scheme="horner"))  # its taps lie on lines: see folded.py
    plan, small = made.plan, max(made.window.kernel_shape) <= SMALL
    if plan is None or not small or len(set(made.window.strides)) > 1 or not _strides_differ(made):
        return made
    if wanted.channels == "folded" or made.form != "branched":
        return made
    # TensorFlow is slow at unequal strides: one stage of all taps has none
    return _chosen(site, wanted, described(whole(plan.window)))


def _chosen(site: PoolSite, choice: Choice, stages: Described = ()) -> Conversion:
    pool, rank, dtype = site.pool, len(site.sizes), TYPES.get(site.dtype, site.dtype)
    if pool.reach == "Adaptive":
        outputs = pool.outputs(rank)
        return choose_adaptive(pool.kind, outputs, site.sizes, site.facts, choice, dtype)
    if pool.reach == "Global":
        static = tuple(size for size in site.sizes if size is not None)
        if len(static) < rank:
            return choose_adaptive(pool.kind, (1,) * rank, site.sizes, site.facts, choice, dtype)
        return choose(PoolSpec(static, kind=pool.kind), site.sizes, site.facts, choice, dtype, stages=stages)
    return choose(pool.spec(rank), site.sizes, site.facts, choice, dtype, stages=stages)


def _strides_differ(made: Conversion) -> bool:
    return any(isinstance(node, Conv) and len(set(node.window.strides)) > 1 for node in made.program.nodes)


def _built(site: PoolSite, made: Conversion) -> keras.Model:
    op = site.pool.op
    own = isinstance(op, keras.Layer) and op.compute_dtype == site.dtype
    policy = op.dtype_policy if own else keras.DTypePolicy(site.dtype)
    place = Place(
        op.name, site.sizes, site.channels, site.pool.channels_first, site.dtype, policy, site.pool.drops_axes
    )
    return layers_of(made.program, place, made.channels)


def _check_places(new: keras.Model, done: list[tuple[PoolSite, Conversion]], made: dict[int, keras.Model]) -> None:
    """Every replacement must stand where its pool stood.

    Raises:
        Refused: NOT_REBUILT.
    """
    there = operations(new)
    for site, _ in done:
        if there.get(site.where) is not made[id(site.pool.op)]:
            raise Refused(
                "NOT_REBUILT",
                "the layer that holds it keeps it where it cannot be exchanged.",
                "Hold it in an attribute, a list or a dict of the layer, or leave this pool out (skip).",
                site.where,
            )


def _record(site: PoolSite, made: Conversion) -> Record:
    return Record.of(
        made,
        where=site.where,
        op_type=type(site.pool.op).__name__,
        spec=made.spec,
        sizes=site.sizes,
        channels=site.channels,
        dtype=site.dtype,
        facts=site.facts,
    )

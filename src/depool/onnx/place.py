"""Every pool's nodes in the model: made in the order in which pools go on from each other, put where pools were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx

from depool.conversion import Conversion
from depool.errors import Refusal
from depool.onnx.find import Left
from depool.onnx.site import PoolSite
from depool.onnx.splice import Names, Shared, emit
from depool.progress import Progress


def emitted(
    model: onnx.ModelProto,
    found: Sequence[PoolSite | Left],
    planned: Mapping[int, Conversion | Refusal],
    progress: Progress,
) -> dict[str, dict[str, tuple[PoolSite, list[onnx.NodeProto]]]]:
    """Every pool's nodes, by scope and output; the weights are in the model.

    Where pools share nodes, all of theirs stand at the first of them.
    """
    names = Names(model)
    done: dict[str, dict[str, tuple[PoolSite, list[onnx.NodeProto]]]] = {}
    there: dict[tuple[str, str], Shared] = {}
    order = {id(item): i for i, item in enumerate(found)}
    for count, (i, made) in enumerate(planned.items()):
        progress("converting", count, len(planned))
        site = found[i]
        if isinstance(made, Refusal) or isinstance(site, Left):
            continue
        shared = there.setdefault((site.scope.path, site.source), Shared())
        nodes, weights = emit(site, made, names, model.ir_version, shared)
        if weights:  # a function has no initialisers, and its weights are among the nodes
            site.scope.container.initializer.extend(weights)
        done.setdefault(site.scope.path, {})[site.output] = (site, nodes)
    for (path, _), shared in there.items():
        if shared.reused:
            here = done[path]
            first = min(shared.pools, key=lambda output: order[id(here[output][0])])
            whole = [node for output in shared.pools for node in here[output][1]]
            for output in shared.pools:
                here[output] = (here[output][0], whole if output == first else [])
    return done


def put(made: dict[str, tuple[PoolSite, list[onnx.NodeProto]]]) -> None:
    """Rebuild one scope's node list once, each replacement where its output was made."""
    sites = [site for site, _ in made.values()]
    scope = sites[0].scope
    gone = set(made)
    for site in sites:
        for name in reversed(site.inner):  # from the pool backwards: dead once nobody else reads it
            if name not in scope.outputs and all(n.output[0] in gone for n in scope.consumers.get(name, [])):
                gone.add(name)
    nodes: list[onnx.NodeProto] = []
    for node in scope.nodes:
        name = next(filter(None, node.output), "")
        if name in made:
            nodes += made[name][1]
        elif not name or name not in gone:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            nodes.append(copy)
    del scope.container.node[:]
    scope.container.node.extend(nodes)

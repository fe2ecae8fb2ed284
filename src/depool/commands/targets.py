"""depool targets."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from depool.errors import Exit
from depool.flags import Json, Quiet, Verbose
from depool.terminal import console, guarded, print_json


def targets(
    names: Annotated[
        tuple[str, ...], Parameter(help="Of presets, or TOML files; all presets if none is given.", show_default=False)
    ] = (),
    /,
    *,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """List the targets of --target: what each consumer accepts, what it says or hides, and how that is known."""

    def work() -> int:
        from depool.report import machine
        from depool.report.targets import print_targets, targets_object
        from depool.target import PRESETS, named

        chosen = [named(name) for name in names] or list(PRESETS.values())
        if json:
            print_json({"schema": machine.SCHEMA, "command": "targets", "targets": targets_object(chosen)})
        elif not quiet:
            print_targets(console(), chosen)
        return Exit.DONE

    return guarded(work, json=json, verbose=verbose)

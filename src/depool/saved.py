"""Find -> plan -> splice -> verify over a file of PyTorch (.pt2) or Keras (.keras)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from depool.errors import FileError, NotEqual
from depool.objects import Converted, Wishes
from depool.onnx.convert import Result
from depool.onnx.files import check_target, check_there
from depool.progress import Progress, quiet
from depool.verification.objects import verify_objects
from depool.verification.subjects import Framework, needed
from depool.verification.verdict import Verdict
from depool.verification.verify import Check

ENDINGS: dict[Framework, str] = {"torch": ".pt2", "keras": ".keras"}


def convert_saved(
    path: str,
    output: str | None,
    framework: Framework,
    wishes: Wishes,
    *,
    verify: bool = True,
    force: bool = False,
    seed: int = 0,
    data: str | os.PathLike[str] | None = None,
    progress: Progress = quiet,
) -> Result:
    """Convert a file into a file, verified before it appears.

    Args:
        path: the model.
        output: the new file; by default `model.depool.keras` (or .pt2) beside it.
        framework: which.
        wishes: how, and which pools.
        verify: check the result as it was written.
        force: overwrite an existing file.
        seed: of the verification's inputs.
        data: an .npz of inputs to verify with as well.
        progress: is told how far it is.

    Raises:
        NotConverted: where a selected pool was refused; nothing is written.
        NotEqual: where the verification failed; the counterexample is saved, the model is not.
        FileError: where a file cannot be read or written.
    """
    ending = ENDINGS[framework]
    target = Path(output) if output is not None else Path(path).with_suffix(f".depool{ending}")
    if target.suffix != ending:
        raise FileError(f"{target}: a converted {ending} file must end in {ending} too; give such an --output")
    check_there(path)
    check_target(target, path, force=force)
    made, done, check_written = (_keras if framework == "keras" else _torch)(path, wishes)
    with _staged(target) as part:
        made(part)
        progress("verifying", 0, 0)
        own = None if data is None else Path(data)
        check = Check(seed=seed, data=own, counterexample=target.with_suffix(".counterexample.npz"))
        verdict = check_written(part, check, progress) if verify else None
        if verdict is not None and verdict.equal is False:
            saved = f"; counterexample in {verdict.counterexample}" if verdict.counterexample else ""
            raise NotEqual(f"{target}: not written: {verdict.summary}{saved}")
    return Result(None, target, done.records, done.conversions, done.refusals, done.left, verdict=verdict)


Write = Callable[[Path], None]
Checked = Callable[[Path, Check, Progress], Verdict]


def _keras(path: str, wishes: Wishes) -> tuple[Write, Converted, Checked]:
    with needed("keras"):
        from depool.keras import files
        from depool.keras.convert import convert_model
        from depool.keras.subject import KerasSubject

    model = files.load(path)
    made = convert_model(model, wishes)
    earlier = files.read_records(path)

    def check(part: Path, how: Check, progress: Progress) -> Verdict:
        written = KerasSubject(files.load(str(part)), path)
        written.converted = made.depool
        return verify_objects(KerasSubject(model, path), written, how, None, progress)

    return lambda part: files.save(made, part, (*earlier, *made.depool.records)), made.depool, check


def _torch(path: str, wishes: Wishes) -> tuple[Write, Converted, Checked]:
    with needed("torch"):
        from depool.torch import exported
        from depool.torch.subject import TorchSubject, saved

    program = exported.load(path)
    again, module = exported.convert(program, wishes)
    done: Any = module.depool

    def check(part: Path, how: Check, progress: Progress) -> Verdict:
        original, converted = TorchSubject(program, path), TorchSubject(module, path)
        converted.called_like(original)
        verdict = verify_objects(original, converted, how, None, progress)
        converted.converted = None
        same = verify_objects(converted, saved(str(part)), replace(how, tolerance=0.0), None, progress)
        return (
            verdict if same.equal else replace(same, summary=f"the file differs from what was verified: {same.summary}")
        )

    return lambda part: exported.save(again, part), done, check


@contextmanager
def _staged(target: Path) -> Iterator[Path]:
    """A name in a temporary folder beside the target; what is written there moves to the target in the end."""
    try:
        with tempfile.TemporaryDirectory(prefix=".depool-", dir=target.absolute().parent) as scratch:
            part = Path(scratch) / target.name
            yield part
            part.replace(target.resolve())
    except OSError as error:
        raise FileError(f"{target}: cannot be written ({error.strerror or error})") from error

"""depool prove."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from depool.errors import Exit
from depool.flags import Force, Json, Model, Quiet, Verbose, file_or_dash
from depool.terminal import console, guarded, print_json, progress_line


def prove(
    original: Annotated[Model, Parameter(help="The ONNX file before; - is standard input.")],
    converted: Annotated[
        str | None,
        Parameter(
            allow_leading_hyphen=True,
            validator=file_or_dash,
            help="The ONNX file after; ORIGINAL.depool.onnx if not given.",
        ),
    ] = None,
    /,
    *,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"], help="Write the certificate here.")] = None,
    check: Annotated[Path | None, Parameter(help="Check this certificate against the two files.")] = None,
    lemmas: Annotated[bool, Parameter(negative=(), help="Have z3 prove the gates' lemmas as well.")] = False,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Prove over the reals, from the two files alone, that CONVERTED computes what ORIGINAL computes."""

    def work() -> int:
        from depool.report import proofs
        from depool.report.blocks import print_lines

        paths = (original, converted or str(Path(original).with_suffix(".depool.onnx")))
        with progress_line("proving", shown=not (json or quiet)):
            if check is not None:
                report = proofs.checked(check, *paths)
                shown, text, code = proofs.report_object(report), proofs.report_text(report), proofs.exit_code(report)
            else:
                certificate = proofs.certified(*paths)
                if output is not None:
                    proofs.write(certificate, output, original, force=force)
                shown, text, code = certificate, proofs.certificate_text(certificate, output), Exit.DONE
            proved = proofs.lemma_rows() if lemmas else []
        if json:
            print_json(shown)
        elif not quiet:
            print_lines(console(), [*proved, *text])
        return code

    return guarded(work, json=json, verbose=verbose)

"""What `depool prove` reads, writes and prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from depool.errors import Exit, FileError
from depool.onnx import files
from depool.proof import Report, certify, check, prove_lemmas


def certified(original: str, converted: str) -> dict[str, Any]:
    """The certificate of a conversion.

    Raises:
        FileError: where a file cannot be read.
        ProofError: where it cannot be proved.
    """
    return certify(files.read(original), files.read(converted))


def checked(path: Path, original: str, converted: str) -> Report:
    """A certificate, held against the two files.

    Raises:
        FileError: where a file cannot be read, or the certificate is no JSON object.
    """
    try:
        certificate = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise FileError(f"{path}: is no certificate ({error})") from error
    if not isinstance(certificate, dict):
        raise FileError(f"{path}: is no certificate (a JSON object is expected)")
    return check(certificate, files.read(original), files.read(converted))


def write(certificate: dict[str, Any], path: Path, original: str, *, force: bool) -> None:
    """Write a certificate, over an existing file only if told so.

    Raises:
        FileError: where it cannot be written.
    """
    files.check_target(path, original, force=force)
    files.write_text(json.dumps(certificate, indent=1) + "\n", path)


def exit_code(report: Report) -> Exit:
    """0 where the certificate holds, else 1."""
    return Exit.DONE if report.ok else Exit.NOT_EQUAL


def report_object(report: Report) -> dict[str, Any]:
    """A report for machines."""
    return {
        "schema": 1,
        "command": "prove",
        "ok": report.ok,
        "reason": report.reason,
        "pools": [{"where": pool.where, "ok": pool.ok, "reason": pool.reason} for pool in report.pools],
        "hypotheses": list(report.hypotheses),
    }


def report_text(report: Report) -> list[str]:
    """A report for people."""
    lines = [f"{pool.where}: {'proved' if pool.ok else f'NOT PROVED: {pool.reason}'}" for pool in report.pools]
    lines += [f"hypothesis: {text}" for text in report.hypotheses]
    return [*lines, "the certificate holds for these two files" if report.ok else f"it does not hold: {report.reason}"]


def certificate_text(certificate: dict[str, Any], path: Path | None) -> list[str]:
    """A certificate for people."""
    lines = [f"{pool['pool']}: proved over the reals; border {pool['border']['rule']}" for pool in certificate["pools"]]
    lines += [f"hypothesis: {text}" for text in certificate["hypotheses"]]
    lines += [f"lemma {name}: {text}" for name, text in certificate["lemmas"].items()]
    return [*lines, certificate["claim"], *([f"written: {path}"] if path is not None else [])]


def lemma_rows() -> list[str]:
    """Each lemma as z3 proves it.

    Raises:
        DepoolError: where z3 is not installed.
    """
    return [f"lemma {lemma.name}: {lemma.status} by z3 in {lemma.seconds:.2f} s" for lemma in prove_lemmas()]

"""An independent check of a conversion: proofs from the two model files alone.

    certificate = certify(files.read("model.onnx"), files.read("model.depool.onnx"))
    report = check(certificate, files.read("model.onnx"), files.read("model.depool.onnx"))

It shares no code with the synthesis: only the file parsers, `depool.onnx.files` and `depool.onnx.graph`.
"""

from __future__ import annotations

from depool.proof.certificate import PoolResult, Report, certify, check
from depool.proof.lemmas import LEMMAS, Proved, prove_lemmas
from depool.proof.problem import ProofError

__all__ = ["LEMMAS", "PoolResult", "ProofError", "Proved", "Report", "certify", "check", "prove_lemmas"]

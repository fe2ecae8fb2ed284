"""The checker shares nothing with the synthesis beyond the file parsers; its lemmas are proved by z3."""

import subprocess
import sys

import pytest

import depool.proof.lemmas as lemmas
from depool.errors import DepoolError
from depool.proof import LEMMAS, ProofError, certify, check, prove_lemmas
from depool.proof.lemmas import Lemma, formula

SHARED = {"depool", "depool.errors", "depool.onnx", "depool.onnx.files", "depool.onnx.graph"}

CHECK = """
import json, sys
from depool.onnx import files
from depool.proof import certify, check
before, after = files.read(sys.argv[1]), files.read(sys.argv[2])
certificate = certify(before, after)
assert check(certificate, before, after).ok
print(*(name for name in sys.modules if name.split(".")[0] == "depool"))
print(*(name for name in sys.modules if name in {"z3", "onnxruntime", "torch"}))
"""


def test_nothing_of_the_synthesis_is_loaded(tmp_path):
    from conversions import converted, pool_model

    before, after = converted(tmp_path, pool_model({"kernel_shape": [2, 2]}, (4, 4)))
    command = [sys.executable, "-c", CHECK, before.name, after.name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own words
    ours, heavy = done.stdout.splitlines()
    others = {name for name in ours.split() if name.split(".")[1:2] != ["proof"]}
    assert others == SHARED
    assert heavy == ""


def test_every_lemma_is_proved():
    pytest.importorskip("z3")
    proved = prove_lemmas()
    assert [lemma.name for lemma in proved] == [lemma.name for lemma in LEMMAS]
    assert {lemma.status for lemma in proved} == {"proved"}


def test_a_false_lemma_is_not(monkeypatch):
    pytest.importorskip("z3")
    wrong = Lemma("wrong", "r(a) = a", "", lambda z3: z3.If(z3.Real("a") >= 0, z3.Real("a"), 0) == z3.Real("a"))
    monkeypatch.setattr(lemmas, "LEMMAS", (wrong,))
    with pytest.raises(ProofError, match="lemma wrong: z3 answers sat"):
        prove_lemmas()


def test_without_z3(monkeypatch):
    monkeypatch.setitem(sys.modules, "z3", None)
    with pytest.raises(DepoolError, match=r"pip install 'depool\[prove\]'"):
        prove_lemmas()


def test_formulas():
    assert formula("pair") == "r(max S - max T) = max(S u T) - max T"
    assert "if the elements of S are >= L >= c" in formula("floor")
    assert "every order" in formula("orders")
    assert callable(certify)
    assert callable(check)

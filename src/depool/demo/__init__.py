"""`depool demo`: the derivation of max pooling by convolutions, retold on a small image of random integers."""

from depool.demo.copying import Notation, kernels_text
from depool.demo.derivation import Demo, Layer, as_json, demo
from depool.demo.story import render

__all__ = ["Demo", "Layer", "Notation", "as_json", "demo", "kernels_text", "render"]

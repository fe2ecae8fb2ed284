"""Train a small CNN on scikit-learn's digits and export it as digits.onnx.

``python examples/train_digits.py`` writes, beside itself, ``digits.onnx`` and
``digits_test.npz``: the held-out images (``image``, the model's input) and their labels
(``label``). Both are committed; only retraining needs torch==2.13.0, scikit-learn,
onnx, onnxscript and onnxruntime. Ten seconds; same bytes each time on one machine.

The first pool sees the output of a ReLU, which cannot be negative. The second, padded,
sees a signed tensor and feeds a Tanh, so its negative outputs reach the logits.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

SEED: Final = 0
EPOCHS: Final = 60

Images = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]


def load_split() -> tuple[Images, Images, Labels, Labels]:
    """Return train and test images ([N, 1, 8, 8] in [0, 1]), then their labels."""
    pixels, labels = load_digits(return_X_y=True)
    # Pixels are integers 0..16, so dividing by 16 is exact in float32.
    images = (pixels / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    labels = labels.astype(np.uint8)
    return tuple(train_test_split(images, labels, random_state=SEED, stratify=labels))


def build_model() -> nn.Sequential:
    """Return the untrained network, its weights drawn from torch's generator."""
    layers = OrderedDict[str, nn.Module](
        conv1=nn.Conv2d(1, 16, 3, padding=1),
        relu=nn.ReLU(),
        pool1=nn.MaxPool2d(2, 2),
        conv2=nn.Conv2d(16, 32, 3, padding=1),
        pool2=nn.MaxPool2d(3, stride=2, padding=1),
        tanh=nn.Tanh(),
        flatten=nn.Flatten(),
        linear=nn.Linear(32 * 2 * 2, 10),
    )
    return nn.Sequential(layers)


def train(model: nn.Sequential, images: Images, labels: Labels) -> None:
    """Fit the model in place."""
    inputs, targets = torch.from_numpy(images), torch.from_numpy(labels).long()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS)
    for _ in range(EPOCHS):
        for batch in torch.split(torch.randperm(len(inputs)), 64):
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[batch]), targets[batch])
            torch.autograd.backward(loss)
            optimiser.step()
        schedule.step()


def export(model: nn.Sequential, images: Images, path: Path) -> None:
    """Write the model as one ONNX file whose batch dimension is named N."""
    torch.onnx.export(
        model.eval(),
        (torch.from_numpy(images),),
        path,
        input_names=["image"],
        output_names=["logits"],
        opset_version=18,
        external_data=False,
        dynamic_shapes=({0: torch.export.Dim("N")},),
        verbose=False,
    )
    proto = onnx.load(path)
    graph = proto.graph
    # The exporter writes stack traces, and with them local paths, into the metadata.
    tensors = [*graph.input, *graph.output, *graph.initializer, *graph.value_info]
    for item in (proto, graph, *graph.node, *tensors):
        item.ClearField("metadata_props")
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path)


def main() -> None:
    """Train, export, and check the exported file against torch on the test images."""
    # One thread and deterministic kernels, so that a second run writes the same bytes.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    torch.manual_seed(SEED)
    train_images, images, train_labels, labels = load_split()
    model = build_model()
    train(model, train_images, train_labels)
    path = Path(__file__).with_name("digits.onnx")
    export(model, images[:2], path)
    np.savez_compressed(path.with_name("digits_test.npz"), image=images, label=labels)

    wanted = model(torch.from_numpy(images)).detach().numpy()
    (got,) = ort.InferenceSession(path).run(["logits"], {"image": images})
    for name, logits in ("torch", wanted), ("onnxruntime", got):
        print(f"{name}: test accuracy {(logits.argmax(axis=1) == labels).mean():.4f}")
    print(f"largest difference between their logits: {np.abs(got - wanted).max():.1e}")
    print(f"{path.name}: {path.stat().st_size} bytes")
    np.testing.assert_array_equal(got.argmax(axis=1), wanted.argmax(axis=1))
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-4)


if __name__ == "__main__":
    main()

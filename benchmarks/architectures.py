"""Four published classifiers as ONNX graphs, batch 1, 224x224, random weights: what their pools cost among the rest.

VGG19        Simonyan and Zisserman 2014, configuration E
ResNet50     He et al. 2015, with the stride in the 3x3 convolutions as all frameworks have it; BatchNormalization
SqueezeNet   Iandola et al. 2016, version 1.1
Inception v1 Szegedy et al. 2014 (GoogLeNet), with its local response normalisation, without the auxiliary classifiers
"""

from __future__ import annotations

from collections.abc import Callable

import onnx
from graphs import Graph

SHAPE = (1, 3, 224, 224)


def vgg19() -> onnx.ModelProto:
    """Five blocks of 3x3 convolutions, each with a 2x2 pool."""
    graph = Graph(SHAPE)
    x = graph.input
    for count, channels in ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512)):
        for _ in range(count):
            x = graph.relu(graph.conv(x, channels, 3, pad=1))
        x = graph.square(x, 2, 2)
    x = graph.flat(x, 512 * 7 * 7)
    for _ in range(2):
        x = graph.relu(graph.dense(x, 4096))
    return graph.model(graph.dense(x, 1000))


def resnet50() -> onnx.ModelProto:
    """One 3x3 pool of stride 2 behind the stem."""
    graph = Graph(SHAPE)

    def layer(x: str, channels: int, kernel: int, stride: int = 1) -> str:
        return graph.norm(graph.conv(x, channels, kernel, stride, kernel // 2, bias=False))

    x = graph.square(graph.relu(layer(graph.input, 64, 7, 2)), 3, 2, 1)
    for stage, count in enumerate((3, 4, 6, 3)):
        width = 64 * 2**stage
        for block in range(count):
            stride = 2 if stage and not block else 1
            y = graph.relu(layer(x, width, 1))
            y = layer(graph.relu(layer(y, width, 3, stride)), 4 * width, 1)
            x = graph.relu(graph.add(y, x if block else layer(x, 4 * width, 1, stride)))
    return graph.model(graph.dense(graph.mean(x), 1000))


def squeezenet() -> onnx.ModelProto:
    """Three 3x3 pools of stride 2 in ceil mode."""
    graph = Graph(SHAPE)

    def fire(x: str, squeezed: int, expanded: int) -> str:
        x = graph.relu(graph.conv(x, squeezed, 1))
        return graph.concat(graph.relu(graph.conv(x, expanded, 1)), graph.relu(graph.conv(x, expanded, 3, pad=1)))

    x = graph.square(graph.relu(graph.conv(graph.input, 64, 3, 2)), 3, 2, ceil=True)
    x = graph.square(fire(fire(x, 16, 64), 16, 64), 3, 2, ceil=True)
    x = graph.square(fire(fire(x, 32, 128), 32, 128), 3, 2, ceil=True)
    for squeezed, expanded in ((48, 192), (48, 192), (64, 256), (64, 256)):
        x = fire(x, squeezed, expanded)
    return graph.model(graph.mean(graph.relu(graph.conv(x, 1000, 1))))


INCEPTION = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64), (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64), (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)  # fmt: skip
"""Channels of the blocks 3a to 5b: 1x1; 1x1 and 3x3; 1x1 and 5x5; 1x1 behind the pool."""


def inception() -> onnx.ModelProto:
    """Four 3x3 pools of stride 2 in ceil mode, and a 3x3 pool of stride 1 in each of nine blocks."""
    graph = Graph(SHAPE)

    def layer(x: str, channels: int, kernel: int, stride: int = 1) -> str:
        return graph.relu(graph.conv(x, channels, kernel, stride, kernel // 2))

    def block(x: str, one: int, before_three: int, three: int, before_five: int, five: int, pooled: int) -> str:
        return graph.concat(
            layer(x, one, 1),
            layer(layer(x, before_three, 1), three, 3),
            layer(layer(x, before_five, 1), five, 5),
            layer(graph.square(x, 3, 1, 1), pooled, 1),
        )

    x = graph.local_norm(graph.square(layer(graph.input, 64, 7, 2), 3, 2, ceil=True))
    x = graph.local_norm(layer(layer(x, 64, 1), 192, 3))
    for blocks in INCEPTION:
        x = graph.square(x, 3, 2, ceil=True)
        for channels in blocks:
            x = block(x, *channels)
    return graph.model(graph.dense(graph.mean(x), 1000))


ARCHITECTURES: dict[str, Callable[[], onnx.ModelProto]] = {
    "vgg19": vgg19,
    "resnet50": resnet50,
    "squeezenet 1.1": squeezenet,
    "inception v1": inception,
}

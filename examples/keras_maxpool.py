"""The published network in Keras: a 2x2 max pool as four 2x2 and two 1x1 convolutions, a Concatenate and an Add.

Run it on any backend: KERAS_BACKEND=tensorflow (or jax, or torch) python examples/keras_maxpool.py
"""

import keras
import numpy as np
from keras import layers

import depool.keras

PUBLISHED = {
    "p": [[1, -1], [0, 0]],
    "q": [[0, 0], [1, -1]],
    "b": [[0, 1], [0, 0]],
    "d": [[0, 0], [0, 1]],
    "u": [1, -1, 1, -1],
    "v": [0, 1, 0, 1],
}
"""The six kernels of the README: of a window [[a, b], [c, d]], then of the four maps [p, q, b, d]."""


def one_pool(pool: keras.Layer, **wishes: object) -> keras.Model:
    """The network that depool puts in the place of a pool on 16x16 images of one channel."""
    model = keras.Sequential([keras.Input((16, 16, 1)), pool])
    return depool.keras.convert(model, channels="dense", **wishes).get_layer(pool.name)


def arrays(network: keras.Model) -> list[np.ndarray]:
    """The kernels in the order of the layers, as NumPy arrays [height, width, maps in, maps out]."""
    return [keras.ops.convert_to_numpy(layer.kernel) for layer in network.layers if isinstance(layer, layers.Conv2D)]


def kinds(network: keras.Model) -> list[str]:
    """The layers' classes, in order, without the input."""
    return [type(layer).__name__ for layer in network.layers[1:]]


def same(network: keras.Model, pool: keras.Layer, x: np.ndarray) -> np.ndarray:
    """The network's result, which must be the pool's."""
    y, wanted = (keras.ops.convert_to_numpy(f(keras.ops.convert_to_tensor(x))) for f in (network, pool))
    np.testing.assert_array_equal(y, wanted)
    return y


def main() -> None:
    """Build it, print it, and check it against Keras' own pools."""
    x = np.random.default_rng(0).integers(-99, 100, (1, 16, 16, 1)).astype("float32")

    network = one_pool(layers.MaxPooling2D(2, name="published"), scheme="tree", form="concat")
    network.summary()
    print("\nkernels:")
    for (name, kernel), array in zip(PUBLISHED.items(), arrays(network), strict=True):
        print(f"  {name} {array.squeeze().astype(int).tolist()}")
        np.testing.assert_array_equal(array.squeeze(), kernel)
    assert sorted(kinds(network)) == sorted(["Conv2D"] * 6 + ["ReLU"] * 3 + ["Concatenate", "Add"])

    y = same(network, layers.MaxPooling2D(2), x)
    print("\nX:", x[0, :, :, 0].astype(int), "\nY:", y[0, :, :, 0].astype(int), sep="\n")

    for pairing in ("ac|bd", "ad|bc"):
        other = one_pool(layers.MaxPooling2D(2), scheme="tree", form="concat", pairing=pairing)
        assert sorted(kinds(other)) == sorted(kinds(network))
        same(other, layers.MaxPooling2D(2), x)
        print(
            f"\npairing {pairing}: equal, first kernels", *(a.ravel().astype(int).tolist() for a in arrays(other)[:4])
        )

    chain = one_pool(layers.MaxPooling2D(2), scheme="tree", form="sequential")
    assert set(kinds(chain)) == {"Conv2D", "ReLU"}
    assert all(a == "Conv2D" for a in kinds(chain)[::2])
    same(chain, layers.MaxPooling2D(2), x)
    print("\none chain, no linear branch: equal,", *kinds(chain))

    average = one_pool(layers.AveragePooling2D(2))
    assert kinds(average) == ["Conv2D"]
    (kernel,) = arrays(average)
    assert np.array_equal(kernel.ravel(), [0.25] * 4)
    same(average, layers.AveragePooling2D(2), x)
    print("\naverage pooling: equal, one Conv2D with the kernel", kernel.ravel().tolist())
    print(f"\nall equal on {keras.backend.backend()}")


if __name__ == "__main__":
    main()

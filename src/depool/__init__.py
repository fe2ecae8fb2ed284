"""depool rewrites the pooling layers of a trained network as convolutions, and proves the result equal."""

__version__ = "0.1.0"

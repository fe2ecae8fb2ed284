"""depool rewrites the pooling layers of a trained network as convolutions, and proves the result equal."""

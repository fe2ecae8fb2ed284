"""Is the converted model equal? Adversarial inputs, an independent oracle, a verdict."""

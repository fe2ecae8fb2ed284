"""The PyTorch frontend: `depool.torch.convert` replaces the pooling modules of a copy of an nn.Module."""

from depool.torch.convert import convert
from depool.torch.pool import ConvPool, ExactnessWarning

__all__ = ["ConvPool", "ExactnessWarning", "convert"]

"""The PyTorch frontend: `depool.torch.convert` replaces the pooling modules of a copy of an nn.Module."""

try:
    import torch as _torch  # noqa: F401 - for the error alone
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"depool.torch needs PyTorch, and there is no {error.name}: pip install 'depool[torch]'", name=error.name
    ) from error

from depool.torch.convert import convert
from depool.torch.pool import ConvPool, ExactnessWarning

__all__ = ["ConvPool", "ExactnessWarning", "convert"]

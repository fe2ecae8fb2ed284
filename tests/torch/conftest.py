"""Small tensors are slower on several threads than on one."""

import pytest


@pytest.fixture(autouse=True)
def one_thread():
    pytest.importorskip("torch.nn", reason="PyTorch is not installed")
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

"""A packed output layer computes what the plain one does."""

import pytest

pytestmark = pytest.mark.models  # it needs PyTorch


@pytest.mark.parametrize("rows", [1, 2, 33])
@pytest.mark.parametrize("bias", [True, False])
def test_packing_changes_no_result(rows, bias):
    import torch

    from teola.runtime.engines.transformers.packed_linear import pack_output_layer

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.out = torch.nn.Linear(48, 200, bias=bias)

        def get_output_embeddings(self):
            return self.out

        def set_output_embeddings(self, layer):
            self.out = layer

    torch.manual_seed(0)
    model = Model()
    plain, x = model.out, torch.randn(1, rows, 48)
    with torch.no_grad():
        if not pack_output_layer(model):
            pytest.skip("this build of PyTorch has no oneDNN")
        assert torch.allclose(model.out(x), plain(x), atol=1e-5)

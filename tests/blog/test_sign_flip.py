import torch
from sklearn.isotonic import IsotonicRegression

from replications.blog.experiments.theory.sign_flip import endpoint
from replications.flows.fields.mlp import MlpField

GRID = torch.linspace(-1, 1, 64, dtype=torch.float64)[:, None]


def test_the_best_increasing_fit_of_minus_x_is_zero():
    x = GRID[:, 0].numpy()
    fit = IsotonicRegression().fit_transform(x, -x)
    assert abs(fit).max() < 1e-12


def test_a_flow_on_the_line_keeps_the_order_and_one_in_the_plane_need_not():
    generator = torch.Generator().manual_seed(0)
    field = MlpField(1, (8,), generator).double()
    with torch.no_grad():
        field.layers[0].weight.mul_(10)
        assert (endpoint(field, GRID, 0, 1e-8).diff(dim=0) > 0).all()

    def rotation(t, z):
        return torch.pi * torch.stack((-z[:, 1], z[:, 0]), 1)

    torch.testing.assert_close(endpoint(rotation, GRID, 1, 1e-9), -GRID, rtol=0, atol=1e-7)


def test_trained_maps(finished, make_run):
    metrics = finished["blog.theory", "sign_flip"].metrics
    assert metrics["ratio[1-D: neighbours in order]"].value == 1
    assert metrics["ratio[1-D: loss/bound]"].value >= 1

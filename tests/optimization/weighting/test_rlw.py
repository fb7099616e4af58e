import torch

from ecgmtl.optimization.weighting import Moment
from ecgmtl.optimization.weighting.rlw import RlwSettings
from tests.promises.family import TASKS


def draw(seed, n_steps):
    weighting = RlwSettings().build(TASKS, seed)
    return torch.stack([weighting(torch.ones(3), Moment(step, 0, 0.0)).weights for step in range(n_steps)])


def test_random_weights_have_mean_one_and_sum_to_the_number_of_tasks():
    weights = draw(seed=0, n_steps=2000)
    torch.testing.assert_close(weights.sum(dim=1), torch.full((2000,), 3.0))
    # their standard deviation is about 0.65, so that of the mean 0.015
    torch.testing.assert_close(weights.mean(dim=0), torch.ones(3), atol=0.06, rtol=0)


def test_random_weights_are_the_softmax_of_standard_normals():
    logs = draw(seed=1, n_steps=2000).log()
    differences = logs[:, 0] - logs[:, 1]  # of two standard normals: variance 2, whose estimate errs by about 0.063
    assert abs(differences.var().item() - 2) < 0.25


def test_random_weights_depend_only_on_seed_and_step():
    weights = draw(seed=3, n_steps=5)
    assert torch.equal(weights, draw(seed=3, n_steps=5))
    assert len(weights.unique(dim=0)) == 5
    assert not torch.equal(weights, draw(seed=4, n_steps=5))

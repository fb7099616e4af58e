"""Two processes that each see half of every batch, beside one that sees all of it."""

from typing import get_args

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from ecgmtl.config.run import Config
from ecgmtl.data.batch import Batch
from ecgmtl.model.encoders.cnn import CnnSettings
from ecgmtl.model.heads import Reconstructed
from ecgmtl.optimization.gradient_rules.gradvac import GradvacSettings
from ecgmtl.optimization.gradient_rules.pcgrad import PcgradSettings
from ecgmtl.optimization.gradient_rules.protect_main import ProtectMainSettings
from ecgmtl.optimization.gradient_rules.sum import SumSettings
from ecgmtl.optimization.gradients import combined_backward, gradient_norms
from ecgmtl.optimization.weighting import Moment, WeightingSettings
from ecgmtl.ranks import average_over_ranks
from ecgmtl.tasks import LossInput, build_task
from tests.optimization.test_gradients import losses_of, network
from tests.promises.family import TASKS


def test_without_parallel_training_a_mean_over_ranks_is_the_value():
    values = torch.randn(3)
    assert average_over_ranks(values) is values


RANK_WEIGHTINGS = [kind() for kind in get_args(get_args(WeightingSettings)[0])]
RANK_RULES = (SumSettings(), PcgradSettings(), ProtectMainSettings(), GradvacSettings(beta=0.5))


def three_steps(rank, n_ranks):
    """Gradients and states of a few rules after three steps on this rank's share of each batch."""
    kept = []
    for settings in RANK_RULES:
        net, rule = network(), settings.build(TASKS[:2])
        for step in range(3):
            x = torch.randn(16, 6, generator=torch.Generator().manual_seed(step)).chunk(n_ranks)[rank]
            losses = losses_of(net, x)
            combined_backward(losses, torch.tensor([0.5, 1.5]), rule, *net.parts(), 1, step)
            with torch.no_grad():
                for parameter in net.parts()[0] + net.parts()[1][:4]:
                    parameter -= 0.3 * parameter.grad
        norms = gradient_norms(losses_of(net, x), net.parts()[0])
        kept.append([norms, *net.state_dict().values(), *rule.state_dict().values()])
    return kept


def three_weighted_steps(rank, n_ranks):
    """Weights, network and state of every weighting after three steps on this rank's share of each batch."""
    kept = []
    for settings in RANK_WEIGHTINGS:
        net, weighting = network(), settings.build(TASKS[:2])
        optimizer = torch.optim.AdamW([*net.parameters(), *weighting.parameters()], lr=0.05)
        for step in range(3):
            x = torch.randn(16, 6, generator=torch.Generator().manual_seed(step)).chunk(n_ranks)[rank]
            optimizer.zero_grad()
            losses = losses_of(net, x)
            values = average_over_ranks(torch.stack(losses).detach())
            if step == 0:
                weighting.begin(values)
            if weighting.norms_every:
                weighting.observe(gradient_norms(losses, net.parts()[0]))
            weights, objective = weighting(values, Moment(step, 0, step / 3))
            combined_backward(losses, weights, SumSettings().build(TASKS[:2]), *net.parts(), 1, step)
            if objective is not None:
                objective.backward()
            optimizer.step()
            if weighting.looks_again:
                weighting.look_again(average_over_ranks(torch.stack(losses_of(net, x)).detach()))
        kept.append([weights, *net.state_dict().values(), *weighting.parameters(), *weighting.buffers()])
    return kept


def masked_loss(rank, n_ranks):
    """Of the reconstruction, and its gradient, where one rank hides more samples than the other."""
    model = Config(encoder=CnnSettings(widths=(8, 8))).build_model(2)
    generator = torch.Generator().manual_seed(0)
    signals, often = torch.randn(4, 12, 10, generator=generator), torch.tensor([0.9, 0.8, 0.2, 0.1])
    mask = torch.rand(4, 8, 10, generator=generator) < often[:, None, None]
    drawn = torch.zeros(4, 8, 10, requires_grad=True)
    mine = torch.arange(4).chunk(n_ranks)[rank]
    batch = Batch(signals[mine], torch.zeros(len(mine), 2), mask=mask[mine], scored=mask[mine].float())
    loss = build_task("reconstruction").loss(
        LossInput(model, {"reconstruction": Reconstructed(drawn[mine], None)}, batch, 1.0)
    )
    (gradient,) = torch.autograd.grad(loss, drawn)
    return [[average_over_ranks(torch.cat([loss.detach()[None], gradient.flatten()]))]]


PARTS = (three_steps, three_weighted_steps, masked_loss)


def one_rank(rank, n_ranks, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=n_ranks)
    torch.save([part(rank, n_ranks) for part in PARTS], f"{folder}/{rank}")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_learn_what_one_learns_from_the_whole_batch(tmp_path):
    mp.spawn(one_rank, (2, str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / str(rank)) for rank in range(2))
    for part, found, other in zip(PARTS, first, second, strict=True):
        torch.testing.assert_close(found, other, rtol=0, atol=0, equal_nan=True)
        torch.testing.assert_close(found, part(0, 1), rtol=1e-4, atol=1e-6, equal_nan=True)

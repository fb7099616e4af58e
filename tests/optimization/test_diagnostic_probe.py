import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ecgmtl.data.batch import Batch
from ecgmtl.optimization.diagnostics import half_gradients


class Small(nn.Module):
    """A network with dropout as a module and as a function, and with a trained and a frozen BatchNorm."""

    def __init__(self):
        super().__init__()
        self.shared = nn.Conv1d(12, 4, 3)
        self.trunk = nn.Sequential(nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.5))
        self.heads = nn.ModuleList([nn.Linear(4, 3), nn.Linear(4, 3)])
        self.frozen = nn.BatchNorm1d(4).eval().requires_grad_(False)

    def forward(self, signals):
        features = F.dropout(self.frozen(self.trunk(self.shared(signals))), 0.5, self.training).mean(dim=-1)
        return [head(features) for head in self.heads]

    def losses(self, batch):
        reconstructed, logits = self(batch.signals)
        return [reconstructed.square().mean(), F.binary_cross_entropy_with_logits(logits, batch.labels)]


@pytest.fixture
def model():
    model = Small().train()
    model.frozen.eval()
    return model


@pytest.fixture
def batch():
    return Batch(torch.randn(8, 12, 50), torch.randint(2, (8, 3)).float())


def test_a_row_is_the_gradient_of_one_loss_on_one_half(model, batch):
    parameters = [model.shared.weight, model.shared.bias]
    rows_of_halves = half_gradients(model.losses, batch, 4, parameters, model)
    model.eval()
    for rows, half in zip(rows_of_halves, (slice(0, 4), slice(4, 8)), strict=True):
        for task in range(2):
            model.zero_grad()
            model.losses(Batch(batch.signals[half], batch.labels[half]))[task].backward()
            torch.testing.assert_close(rows[task], torch.cat([p.grad.flatten() for p in parameters]))


def test_a_probe_changes_no_state(model, batch):
    sum(model.losses(batch)).backward()

    def snapshot():
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        state = {**model.state_dict(), **{f"grad.{n}": g for n, g in gradients.items()}, "rng": torch.get_rng_state()}
        return {name: value.clone() for name, value in state.items()}, [m.training for m in model.modules()]

    before, flags = snapshot()
    with torch.no_grad():
        half_gradients(
            lambda b: [loss + 0 * torch.rand(()) for loss in model.losses(b)], batch, 4, [model.shared.weight], model
        )
    now, flags_now = snapshot()
    assert flags_now == flags
    assert now.keys() == before.keys()
    assert all(torch.equal(now[name], before[name]) for name in before)


def test_a_failed_probe_restores_training_mode(model, batch):
    flags = [module.training for module in model.modules()]
    with pytest.raises(RuntimeError, match="12 channels"):
        half_gradients(lambda b: model(b.signals[:, :3]), batch, 4, [model.shared.weight], model)
    assert [module.training for module in model.modules()] == flags


def test_gradient_rows_are_float32_under_bf16(model, batch):
    exact = half_gradients(model.losses, batch, 4, [model.shared.weight], model)
    with torch.autocast("cpu", torch.bfloat16):
        rows_of_halves = half_gradients(model.losses, batch, 4, [model.shared.weight], model)
    for rows, close in zip(rows_of_halves, exact, strict=True):
        assert rows.dtype == torch.float32
        assert F.cosine_similarity(rows, close).min() > 0.99


def test_a_loss_without_the_layer_has_a_row_of_zeros(model, batch):
    first, _ = half_gradients(
        lambda b: [model.heads[0].weight.square().sum(), model.losses(b)[1]],
        batch, 4, [model.shared.weight], model,
    )  # fmt: skip
    assert not first[0].any()
    assert first[1].any()


def test_every_field_of_a_batch_is_halved(model, batch):
    halves = []
    whole = batch._replace(
        signals=batch.signals[:7], labels=batch.labels[:7], mask=torch.arange(7),
        auxiliary_labels={"rhythm": torch.arange(7), "form": 10 + torch.arange(7)},
    )  # fmt: skip

    def losses(half):
        halves.append(half)
        return model.losses(half)

    half_gradients(losses, whole, 3, [model.shared.weight], model)
    assert [len(half.signals) for half in halves] == [3, 3]  # the seventh record has no partner
    assert [half.mask.tolist() for half in halves] == [[0, 1, 2], [3, 4, 5]]
    assert [half.auxiliary_labels["form"].tolist() for half in halves] == [[10, 11, 12], [13, 14, 15]]
    assert [half.scored for half in halves] == [None, None]


def test_a_probe_without_halves_or_parameters_is_refused(model, batch):
    with pytest.raises(ValueError, match="at least 2 records, one per half; the batch has 1"):
        half_gradients(model.losses, Batch(batch.signals[:1], batch.labels[:1]), 0, [model.shared.weight], model)
    for parameters in ([], [model.frozen.weight]):
        with pytest.raises(ValueError, match="needs trainable parameters"):
            half_gradients(model.losses, batch, 4, parameters, model)

import pytest
import torch

from ecgmtl.config import Config
from ecgmtl.encoders.cnn import CnnSettings
from ecgmtl.encoders.transformer import TransformerSettings
from ecgmtl.heads import Classifier, Decoder, DecoderSettings
from ecgmtl.leads import spread
from ecgmtl.losses import LOSSES
from ecgmtl.masking import MaskingSettings, draw_hidden
from ecgmtl.model import Batch, Output


@pytest.fixture
def model():
    model = Config(encoder=CnnSettings(widths=(8, 8))).build_model(5, 7).eval()
    model.standardise.std.fill_(0.5)
    return model


@pytest.fixture
def signals():
    return torch.randn(3, 12, 300)


@pytest.fixture
def hidden():
    return draw_hidden((3, 300), 100.0, MaskingSettings(), torch.Generator().manual_seed(0))


def test_hidden_samples_never_reach_the_encoder(model, signals, hidden):
    other = torch.where(spread(hidden), torch.randn_like(signals), signals)
    assert torch.equal(model.encode(signals, hidden), model.encode(other, hidden))


def test_a_task_that_is_not_asked_for_is_left_out(model, signals):
    output = model(signals, None, ("classification",))
    assert output.reconstruction is None
    assert output.auxiliary_logits is None
    assert output.logits.shape == (3, 5)


def test_what_is_redrawn_obeys_the_identities_of_the_leads(model, signals, hidden):
    one, two, three, avr, avl, avf = model.redraw(signals, hidden)[:, :6].unbind(dim=1)
    for derived, expected in ((three, two - one), (avr, -(one + two) / 2), (avl, one - two / 2), (avf, two - one / 2)):
        torch.testing.assert_close(derived, expected, atol=1e-5, rtol=0)


def test_classification_leaves_the_decoder_alone(model, signals):
    model(signals).logits.sum().backward()
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in model.decoder.parameters())


def test_standardised_units_go_back_to_mv(model, signals):
    basis = model.standardise.basis(signals)
    torch.testing.assert_close(model.standardise.to_mv(basis), signals[:, [0, 1, 6, 7, 8, 9, 10, 11]])


def test_a_head_starts_at_the_prevalence(model):
    prevalence = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5])
    model.classifier.start_at(prevalence)
    torch.testing.assert_close(torch.sigmoid(model.classifier.read.bias), prevalence)


def test_reconstruction_loss_by_hand(model):
    # two of the samples are scored; in units of 0.5 mV their errors are 2 and 4: (4 + 16) / 2 = 10
    signals = torch.zeros(1, 12, 4)
    drawn = torch.zeros(1, 8, 4)
    drawn[0, 0, 0], drawn[0, 1, 1], drawn[0, 2, 2] = 2.0, 4.0, 9.0
    scored = torch.zeros(1, 8, 4)
    scored[0, 0, 0] = scored[0, 1, 1] = 1.0
    batch = Batch(signals, torch.zeros(1, 5), scored=scored)
    assert LOSSES["reconstruction"].loss(model, Output(drawn), batch).item() == pytest.approx(10.0)


def test_nothing_hidden_costs_nothing(model):
    drawn = torch.randn(1, 8, 4, requires_grad=True)
    batch = Batch(torch.randn(1, 12, 4), torch.zeros(1, 5), scored=torch.zeros(1, 8, 4))
    loss = LOSSES["reconstruction"].loss(model, Output(drawn), batch)
    loss.backward()
    assert loss.item() == 0.0
    assert not drawn.grad.any()


@pytest.mark.parametrize("encoder", [CnnSettings(widths=(8, 8)), TransformerSettings(width=8, depth=1)])
def test_what_is_hidden_changes_no_output(encoder, signals, hidden):
    model = Config(encoder=encoder).build_model(5, 7).eval()
    other = signals.masked_fill(spread(hidden), torch.nan)  # a single sample that slips through spoils all
    for one, two in zip(model(signals, hidden, tuple(LOSSES)), model(other, hidden, tuple(LOSSES)), strict=True):
        assert torch.equal(one, two)


def test_hidden_is_told_from_flat(model, signals, hidden):
    flat = signals.masked_fill(spread(hidden), 0.0)  # the mean, in this model
    assert not torch.allclose(model(flat).logits, model(flat, hidden).logits)


def test_nothing_hidden_is_as_no_mask(model, signals):
    nothing = torch.zeros(3, 8, 300, dtype=torch.bool)
    assert torch.equal(model(signals).logits, model(signals, nothing).logits)
    assert torch.equal(model(signals).logits, model.classify(signals))


def test_a_perfect_decoder_redraws_the_signals_in_mv(model, hidden):
    model.standardise.mean.normal_()
    signals = model.lead_algebra @ torch.randn(3, 8, 300)
    model.decoder.forward = lambda features: model.standardise.basis(signals)
    torch.testing.assert_close(model.redraw(signals, hidden), signals, rtol=0, atol=1e-5)


def test_a_frame_unfolds_into_its_samples_in_order():
    decoder = Decoder(n_features=2, stride=5, settings=DecoderSettings(width=4, n_blocks=1)).eval()
    torch.nn.init.zeros_(decoder.unfold.weight)
    decoder.unfold.bias.data = torch.arange(40.0)  # 8 leads of 5 samples
    drawn = decoder(torch.randn(1, 2, 3))
    assert drawn[0, 0].tolist() == [0, 1, 2, 3, 4] * 3
    assert drawn[0, 7].tolist() == [35, 36, 37, 38, 39] * 3


def test_the_classifier_reads_mean_and_maximum():
    classifier = Classifier(n_features=1, n_labels=1, dropout=0.0)
    classifier.read.weight.data = torch.tensor([[2.0, 10.0]])
    classifier.read.bias.data.zero_()
    assert classifier(torch.tensor([[[1.0, 0.0, 5.0]]])).item() == pytest.approx(2 * 2 + 10 * 5)


def test_without_second_labels_there_is_no_second_classifier(signals):
    model = Config(encoder=CnnSettings(widths=(8, 8))).build_model(5).eval()
    assert model(signals, None, tuple(LOSSES)).auxiliary_logits is None
    assert not any(name.startswith("auxiliary") for name in model.state_dict())

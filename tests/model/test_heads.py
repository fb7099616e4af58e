import pytest
import torch

from ecgmtl.model.heads import Classifier, Decoder, DecoderSettings, pool

SMALL = {"width": 4, "n_blocks": 1}


def test_a_frame_unfolds_into_its_samples_in_order():
    decoder = Decoder(n_features=2, stride=5, settings=DecoderSettings(**SMALL)).eval()
    torch.nn.init.zeros_(decoder.unfold.weight)
    decoder.unfold.bias.data = torch.arange(40.0)  # 8 leads of 5 samples
    decoded = decoder(torch.randn(1, 2, 3)).mean
    assert decoded[0, 0].tolist() == [0, 1, 2, 3, 4] * 3
    assert decoded[0, 7].tolist() == [35, 36, 37, 38, 39] * 3


@pytest.mark.parametrize("leads", [8, 12])
@pytest.mark.parametrize("log_var", [True, False])
def test_a_decoder_reconstructs_as_many_leads_as_set(leads, log_var):
    decoder = DecoderSettings(leads=leads, log_var=log_var, **SMALL).build(6, 4)
    mean, variance = decoder(torch.randn(2, 6, 25))
    assert mean.shape == (2, leads, 100)
    assert (variance is not None) == log_var
    assert variance is None or variance.shape == mean.shape


def test_the_variance_is_one_before_training():
    decoder = DecoderSettings(log_var=True, **SMALL).build(6, 4)
    assert not decoder(torch.randn(2, 6, 25)).log_var.any()


def test_predicting_a_variance_does_not_change_the_mean():
    torch.manual_seed(1)
    plain = DecoderSettings(**SMALL).build(6, 4).eval()
    torch.manual_seed(1)
    unsure = DecoderSettings(log_var=True, **SMALL).build(6, 4).eval()
    features = torch.randn(2, 6, 25)
    assert torch.equal(plain(features).mean, unsure(features).mean)


def test_an_extreme_variance_stays_within_limits_and_keeps_a_gradient():
    decoder = DecoderSettings(log_var=True, **SMALL).build(6, 4)
    torch.nn.init.constant_(decoder.unfold_log_var.bias, 12.0)
    log_var = decoder(torch.randn(2, 6, 25)).log_var
    # 7 tanh(12 / 7) = 6.561
    assert log_var.amin().item() == pytest.approx(6.561, abs=1e-3)
    log_var.sum().backward()
    assert (decoder.unfold_log_var.bias.grad > 0).all()


def test_a_number_of_leads_other_than_8_or_12_is_rejected():
    with pytest.raises(ValueError, match="8 or 12"):
        DecoderSettings(leads=3)


def test_the_classifier_reads_mean_and_maximum_over_time():
    classifier = Classifier(n_features=1, n_labels=1, dropout=0.0)
    classifier.read.weight.data = torch.tensor([[2.0, 10.0]])
    classifier.read.bias.data.zero_()
    assert classifier(pool(torch.tensor([[[1.0, 0.0, 5.0]]]))).item() == pytest.approx(2 * 2 + 10 * 5)


def test_a_classifier_starts_at_the_prevalence():
    classifier = Classifier(n_features=3, n_labels=5, dropout=0.0)
    prevalence = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5])
    classifier.start_at(prevalence)
    torch.testing.assert_close(torch.sigmoid(classifier.read.bias), prevalence)

import pytest
import torch

from data_prep.leads import BASIS_INDEX
from ecgmtl.data.lead_algebra import DERIVED_INDEX, extend_mask, extend_scores, index_tensor
from ecgmtl.data.masking import MaskingSettings, sample_mask
from ecgmtl.export.write import ClassifierOnly
from ecgmtl.model.encoders.cnn import CnnSettings
from ecgmtl.model.encoders.cnn_transformer import CnnTransformerSettings
from ecgmtl.model.encoders.convnext import ConvNextSettings
from ecgmtl.model.encoders.leadwise import LeadwiseSettings
from ecgmtl.model.encoders.s4d import S4dSettings
from ecgmtl.model.encoders.transformer import TransformerSettings
from ecgmtl.model.heads import ClassifierSettings, DecoderSettings, Reconstructed
from ecgmtl.model.imputation import impute
from ecgmtl.model.network import N_INPUTS, MultiTaskModel, pool_each
from ecgmtl.model.sharing.cross_stitch import CrossStitchSettings
from ecgmtl.model.sharing.hard import HardSettings
from ecgmtl.model.sharing.multi_level import MultiLevelSettings
from ecgmtl.model.sharing.soft import SoftSettings

CNN, HARD = CnnSettings(widths=(8, 8)), HardSettings()
TASKS = ("reconstruction", "classification", "classification_rhythm")
LEVELS = MultiLevelSettings(levels={"reconstruction": 1, "classification_rhythm": 2})

every_sharing = pytest.mark.parametrize(
    "sharing", [HARD, SoftSettings(), CrossStitchSettings(), LEVELS], ids=lambda sharing: sharing.kind
)
every_encoder = pytest.mark.parametrize(
    "encoder",
    [
        CnnSettings(widths=(6, 8)),
        TransformerSettings(width=8, depth=1),
        CnnTransformerSettings(stem=(6, 8), width=8, depth=1),
        S4dSettings(stem=(6, 8), depth=1, state=4),
        ConvNextSettings(widths=(6, 8), n_blocks=1),
        LeadwiseSettings(lead_widths=(4, 6), widths=(6, 8)),
    ],
    ids=lambda encoder: encoder.kind,
)


def build(encoder=CNN, sharing=HARD, auxiliary=(("rhythm", 7),), **decoder):
    """An untrained model in eval mode; 1 mV is 2 standardized units."""
    counts = {"classification": 5, **{f"classification_{name}": count for name, count in auxiliary}}
    trunks = {"reconstruction": "reconstruction", **dict.fromkeys(counts, "classification")}
    shared = sharing.build(encoder, N_INPUTS, trunks)
    decoder = DecoderSettings(width=8, **decoder)
    heads = {"reconstruction": decoder.build(shared.n_features("reconstruction"), shared.stride("reconstruction"))}
    heads |= {name: ClassifierSettings().build(shared.n_features(name), count) for name, count in counts.items()}
    model = MultiTaskModel(shared, heads)
    model.standardize.std.fill_(0.5)
    return model.eval()


@pytest.fixture
def model():
    return build()


@pytest.fixture
def signals():
    return torch.randn(3, 12, 300)


@pytest.fixture
def mask():
    return sample_mask((3, 300), 100.0, MaskingSettings(), torch.Generator().manual_seed(0))


def test_masked_samples_never_reach_the_encoder(model, signals, mask):
    other = torch.where(extend_mask(mask), torch.randn_like(signals), signals)
    seen = []
    model.encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model(signals, mask)
    model(other, mask)
    assert torch.equal(*seen)


def test_only_the_requested_tasks_have_outputs(model, signals):
    output = model(signals, None, ("classification",))
    assert {name: logits.shape for name, logits in output.items()} == {"classification": (3, 5)}
    assert model(signals, None, ()) == {}


def test_heads_of_other_tasks_do_not_run(model, signals):
    for part in (model.heads["reconstruction"], model.heads["classification"]):
        part.register_forward_pre_hook(lambda *_: pytest.fail("a head was run for nothing"))
    output = model(signals, None, ("classification_rhythm",))
    assert output["classification_rhythm"].shape == (3, 7)
    model.encoder.register_forward_pre_hook(lambda *_: pytest.fail("the encoder was run for nothing"))
    model(signals, None, ("classification_form",))


def test_a_reconstruction_obeys_the_identities_of_the_leads(model, signals, mask):
    one, two, three, avr, avl, avf = model.reconstruct(signals, mask)[:, :6].unbind(dim=1)
    for derived, expected in ((three, two - one), (avr, -(one + two) / 2), (avl, one - two / 2), (avf, two - one / 2)):
        torch.testing.assert_close(derived, expected, atol=1e-5, rtol=0)


def test_classification_does_not_run_the_decoder(model, signals):
    model(signals)["classification"].sum().backward()
    assert all(
        parameter.grad is None or not parameter.grad.any() for parameter in model.heads["reconstruction"].parameters()
    )


def test_standardized_units_convert_back_to_mv(model, signals):
    basis = model.standardize.basis(signals)
    torch.testing.assert_close(model.standardize.to_mv(basis), signals[:, [0, 1, 6, 7, 8, 9, 10, 11]])


@every_sharing
@every_encoder
def test_masked_samples_change_no_output(encoder, sharing, signals, mask):
    model = build(encoder, sharing)
    other = signals.masked_fill(
        extend_mask(mask), torch.nan
    )  # one masked sample that is read would make everything NaN
    one, two = model(signals, mask, TASKS), model(other, mask, TASKS)
    assert torch.equal(one.pop("reconstruction").mean, two.pop("reconstruction").mean)
    assert one.keys() == {"classification", "classification_rhythm"}
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_masked_sample_differs_from_a_flat_one(model, signals, mask):
    flat = signals.masked_fill(extend_mask(mask), 0.0)  # the mean, in this model
    assert not torch.allclose(model(flat)["classification"], model(flat, mask)["classification"])


def test_an_empty_mask_equals_no_mask(model, signals):
    nothing = torch.zeros(3, 8, 300, dtype=torch.bool)
    torch.testing.assert_close(
        model(signals)["classification"], model(signals, nothing)["classification"], atol=1e-5, rtol=1e-5
    )
    assert torch.equal(model(signals)["classification"], model.classify(signals))


@pytest.mark.parametrize("leads", [8, 12])
def test_reconstructions_are_in_mv_beside_unchanged_visible_samples(signals, mask, leads):
    model = build(leads=leads)
    model.standardize.mean.normal_()
    model.standardize.std.uniform_(0.5, 2.0)
    signals = model.lead_algebra @ signals[:, :8]
    true = model.standardize.basis(signals)
    decoded = true + torch.randn_like(true)
    model.heads["reconstruction"].forward = lambda features: Reconstructed(decoded, None)
    row_mask = mask if leads == 8 else extend_mask(mask)
    expected = model.standardize.to_mv(impute(torch.where(row_mask, decoded, true), row_mask))
    reconstructed = model.reconstruct(signals, mask)
    torch.testing.assert_close(reconstructed[:, model.standardize.index], expected, rtol=0, atol=1e-5)
    assert torch.equal(reconstructed[:, 6:][~mask[:, 2:]], signals[:, 6:][~mask[:, 2:]])


def test_without_auxiliary_labels_there_is_one_classifier(signals):
    model = build(auxiliary=())
    assert list(model(signals, None, TASKS)) == ["reconstruction", "classification"]
    assert not any("rhythm" in name for name in model.state_dict())


def test_each_label_set_has_its_own_classifier(signals):
    model = build(auxiliary=(("rhythm", 7), ("form", 2)))
    found = model(signals, None, ("classification_form", "classification_rhythm"))
    shapes = {name: logits.shape for name, logits in found.items()}
    assert shapes == {"classification_rhythm": (3, 7), "classification_form": (3, 2)}


def test_a_variance_is_predicted_for_each_sample(signals, mask):
    output = build(log_var=True)(signals, mask)
    assert output["reconstruction"].log_var.shape == output["reconstruction"].mean.shape == (3, 8, 300)
    assert build()(signals, mask)["reconstruction"].log_var is None


def decoded_leads(model, signals, mask):
    """Return the output of the decoder in mV, corrected by the other leads."""
    row_mask = extend_mask(mask) if model.reconstructs_all else mask
    amid = torch.where(row_mask, model(signals, mask)["reconstruction"].mean, model.standardize.basis(signals))
    return model.standardize.to_mv(impute(amid, row_mask))


def test_a_masked_derived_lead_follows_from_visible_and_reconstructed_leads(model, signals):
    one_mask = torch.zeros(3, 8, 300, dtype=torch.bool)
    one_mask[:, 0] = True
    reconstructed = model.reconstruct(signals, one_mask)
    decoded = decoded_leads(model, signals, one_mask)[:, 0]
    torch.testing.assert_close(reconstructed[:, 0], decoded)
    torch.testing.assert_close(reconstructed[:, 1], signals[:, 1])
    torch.testing.assert_close(reconstructed[:, 2], signals[:, 1] - decoded)  # III = II - I
    torch.testing.assert_close(reconstructed[:, 6:], signals[:, 6:])


def test_twelve_reconstructed_leads_need_not_obey_the_identities(signals, mask):
    model = build(leads=12)
    reconstructed = model.reconstruct(signals, mask)
    decoded = decoded_leads(model, signals, mask)
    torch.testing.assert_close(reconstructed, torch.where(extend_mask(mask), decoded, signals))
    assert (reconstructed[:, 2] - (reconstructed[:, 1] - reconstructed[:, 0])).abs().max() > 0.01


def test_only_leads_that_break_the_identities_violate_them(signals):
    model = build(leads=12)
    model.standardize.mean.normal_()
    model.standardize.std.uniform_(0.2, 2.0)
    signals = model.lead_algebra @ signals[:, :8]
    torch.testing.assert_close(model.violation(model.standardize(signals)), torch.zeros(3, 4, 300), atol=1e-5, rtol=0)
    aside = torch.randn(3, 4, 300)
    signals[:, DERIVED_INDEX] += aside * model.standardize.std[DERIVED_INDEX]
    torch.testing.assert_close(model.violation(model.standardize(signals)), aside, atol=1e-5, rtol=1e-5)


def test_a_model_can_be_trained_after_inference(signals):
    model = build(leads=12)
    index_tensor.cache_clear()
    with torch.inference_mode():
        model.violation(model.standardize(signals))
    model.violation(model(signals)["reconstruction"].mean).square().mean().backward()
    assert model.heads["reconstruction"].unfold.weight.grad.abs().max() > 0


def test_a_derived_lead_is_scored_where_it_is_masked(mask):
    assert torch.equal(build(leads=12).scored(mask.float()), extend_mask(mask).float())
    assert torch.equal(build().scored(mask.float()), mask.float())
    partly = torch.rand(3, 8, 300)
    assert torch.equal(extend_scores(partly)[:, BASIS_INDEX], partly)
    assert torch.equal(extend_scores(partly)[:, 4], torch.maximum(partly[:, 0], partly[:, 1]))


def gradients(model, signals, task, share):
    """Return the gradients of one task's loss by name, when `share` of it flows into the encoder."""
    model.zero_grad()
    output = model(signals, None, (task,), {task: share})
    values = output[task].mean if task == "reconstruction" else output[task]
    values.square().sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@every_sharing
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_flow_scales_the_encoders_gradient_exactly(sharing, task, share, signals):
    model = build(sharing=sharing)
    whole, part = gradients(model, signals, task, 1.0), gradients(model, signals, task, share)
    heads = {name for name in whole if not name.startswith("encoder.")}
    assert heads
    assert all(torch.equal(part[name], whole[name]) for name in heads)
    assert set(part) == (set(whole) if share else heads)
    assert all(torch.equal(part[name], share * whole[name]) for name in part.keys() - heads)  # exact for a power of two


def test_each_task_has_its_own_flow(model, signals):
    one, two = gradients(model, signals, "reconstruction", 0.3), gradients(model, signals, "classification", 1.0)
    model.zero_grad()
    output = model(signals, None, TASKS[:2], {"reconstruction": 0.3})
    (output["reconstruction"].mean.square().sum() + output["classification"].square().sum()).backward()
    for name, parameter in model.encoder.named_parameters(prefix="encoder"):
        torch.testing.assert_close(parameter.grad, one[name] + two[name], rtol=1e-4, atol=1e-4)


def test_flow_changes_no_output(model, signals):
    some, none = dict.fromkeys(TASKS, 0.3), dict.fromkeys(TASKS, 0.0)
    plain = model(signals, None, TASKS)
    for flow in (some, none):
        output = model(signals, None, TASKS, flow)
        assert torch.equal(output["reconstruction"].mean, plain["reconstruction"].mean)
        assert torch.equal(output["classification"], plain["classification"])


@every_sharing
@every_encoder
def test_classifier_only_gives_the_same_logits(encoder, sharing, signals):
    model = build(encoder, sharing)
    with torch.no_grad():
        for parameter in model.parameters():  # so that no difference is hidden by equal initial values
            parameter.add_(0.05 * torch.randn_like(parameter))
    assert torch.equal(ClassifierOnly(model)(signals), model.classify(signals))
    assert torch.equal(model.classify(signals), model(signals)["classification"])


@every_sharing
@every_encoder
def test_classifier_only_holds_no_unused_parameter(encoder, sharing, signals):
    model, alone = build(encoder, sharing), ClassifierOnly(build(encoder, sharing))
    alone(signals).sum().backward()
    assert all(parameter.grad is not None for parameter in alone.parameters())
    used = gradients(model, signals, "classification", 1.0)
    assert sum(p.numel() for p in alone.parameters()) == sum(value.numel() for value in used.values())
    names = " ".join(alone.state_dict())
    assert "unfold" not in names  # part of the decoder
    assert "rhythm" not in names
    assert "reconstruction" not in names or sharing.kind == "cross_stitch"  # whose classifier reads both encoders


def test_compiled_features_of_two_classifiers_are_pooled_once(monkeypatch):
    shared, own = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    features = {"classification": shared, "classification_a": shared, "classification_b": own}
    eager = pool_each(features)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    pooled = pool_each(features)
    assert list(pooled) == ["classification", "classification_a", "classification_b"]
    assert pooled["classification_a"] is pooled["classification"]
    for task, values in pooled.items():
        assert torch.equal(values, eager[task])

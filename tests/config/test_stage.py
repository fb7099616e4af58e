import pytest
from pydantic import ValidationError

from ecgmtl.config.stage import Stage
from ecgmtl.data.augment import AugmentSettings
from ecgmtl.data.masking import MaskingSettings
from ecgmtl.optimization.gradient_rules.mgda import MgdaSettings
from ecgmtl.optimization.gradient_rules.pcgrad import PcgradSettings
from ecgmtl.optimization.optimizer import OptimizerSettings
from ecgmtl.optimization.weighting.bandit import BanditSettings
from ecgmtl.optimization.weighting.decay import DecaySettings
from ecgmtl.optimization.weighting.gradnorm import GradNormSettings
from ecgmtl.optimization.weighting.uncertainty import UncertaintySettings
from ecgmtl.tasks import ReconstructionSettings

JOINT = {"losses": ("reconstruction", "classification")}
DISTIL = {"losses": ("distillation", "reconstruction"), "teachers": ("one",)}


def stage(**changes):
    fields = {"name": "s", "trains": ("encoder", "decoder"), "losses": ("reconstruction",), "epochs": 1}
    return Stage(**{**fields, **changes})


def test_leads_may_be_missing_in_the_clean_view_of_a_stage_that_masks():
    two = {**JOINT, "trains": ("encoder", "decoder", "classifier"), "views": {"classification": "clean"}}
    assert stage(**two, augment=AugmentSettings(leads_missing=0.1)).masks


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "a/b"}, "plain name"),
        ({"name": ".."}, "plain name"),
        ({"trains": ()}, "at least 1 item"),
        (
            {"trains": ("encodr",)},
            "trains the encodr, on which none of its losses depends; they train decoder, encoder",
        ),
        (
            {"losses": ()},
            "found nothing; choose from reconstruction, classification, mid_classification, consistency, agreement",
        ),
        ({"losses": ("redraw",)}, "found redraw; choose from"),
        ({"losses": ("reconstruction", "reconstruction")}, "named twice"),
        ({"trains": ("classifier",)}, "trains the classifier, on which none of its losses depends"),
        ({"epochs": 0}, "greater than 0"),
        ({"weighting": DecaySettings()}, "weighting.main is 'classification', but the stage's losses are recon"),
        ({"masking": MaskingSettings(time=0, leads=0)}, "masks nothing"),
        ({"masking": MaskingSettings(share=0)}, "masks nothing"),
        ({"augment": AugmentSettings(leads_missing=0.1)}, "leave augment.leads_missing out"),
        ({"losses": ("consistency",)}, "consistency needs a reconstruction"),
        ({"trains": ("predictor",)}, "trains the predictor, on which none of its losses depends"),
        (
            {"losses": ("latent",), "trains": ("encoder",), "masking": MaskingSettings(share=0)},
            "but masks nothing",
        ),
        (
            {"losses": ("contrastive",), "trains": ("encoder",), "augment": AugmentSettings(mixup=0.3)},
            "mixup blends its views with other records",
        ),
        (
            {
                "losses": ("contrastive", "reconstruction"),
                "trains": ("encoder",),
                "reconstruction": ReconstructionSettings(target="shuffled"),
            },
            "one view of a record may become the target",
        ),
        (
            {**JOINT, "losses": ("classification", "distillation"), "trains": ("encoder",)},
            "needs `teachers`, and `teachers` need",
        ),
        ({"teachers": ("one",)}, "needs `teachers`, and `teachers` need"),
        ({**DISTIL, "weighting": BanditSettings(main="distillation")}, "distillation alone learns none"),
        ({"losses": ("classification_",)}, "found classification_; choose from"),
        (
            {"trains": ("auxiliary_classifiers",)},
            "trains the auxiliary_classifiers, on which none of its losses depends",
        ),
        ({"flow": {"classification": 0.5}}, "flow names classification; the stage's losses are reconstruction"),
        ({"flow": {"reconstruction": 1.5}}, "less than or equal to 1"),
        (
            {"losses": ("reconstruction", "consistency"), "flow": {"consistency": 0}},
            "flow names consistency, which has no head; name reconstruction",
        ),
        (
            {**JOINT, "weighting": BanditSettings(main="reconstruction")},
            "the bandit is rewarded by classification, which selects the best epoch",
        ),
        (
            {"weighting": UncertaintySettings(), "reconstruction": ReconstructionSettings(kind="beta_nll")},
            "uncertainty weighting needs losses that are never negative, and that of reconstruction can be",
        ),
        (
            {**JOINT, "trains": ("decoder", "classifier"), "weighting": GradNormSettings()},
            "gradnorm compares the tasks' gradients in the encoder, which the stage does not train",
        ),
        (
            {**JOINT, "losses": (*JOINT["losses"], "consistency"), "weighting": GradNormSettings()},
            "gradnorm needs the consistency loss of an untrained network, .* set weighting.start.consistency",
        ),
        (
            {**JOINT, "weighting": GradNormSettings(), "optimizer": OptimizerSettings(algorithm="sgd")},
            "set optimizer.algorithm to adamw",
        ),
        (
            {**JOINT, "weighting": DecaySettings(), "gradients": MgdaSettings()},
            "the gradient rule follows the shortest; use another rule",
        ),
        (
            {**JOINT, "trains": ("decoder", "classifier"), "gradients": PcgradSettings()},
            "pcgrad compares the tasks' gradients in the encoder",
        ),
    ],
)
def test_a_stage_that_cannot_be_run_is_refused(changes, said):
    with pytest.raises(ValidationError, match=said):
        stage(**changes)


def test_an_autoencoder_that_hides_nothing_is_scored_on_what_is_visible():
    assert stage(masking=MaskingSettings(time=0, leads=0, visible=1.0)).reconstructs


def test_masking_is_nobodys_business_without_reconstruction():
    assert not stage(trains=("classifier",), losses=("classification",), masking=MaskingSettings(share=0)).reconstructs


@pytest.mark.parametrize(
    ("losses", "selected_by"),
    [
        (("reconstruction", "classification"), "classification"),
        (("classification_form", "reconstruction"), "reconstruction"),
        (("classification_form",), "classification_form"),
        (("reconstruction", "distillation"), "distillation"),
        (("distillation", "classification"), "classification"),
    ],
)
def test_a_stage_is_selected_by_its_most_important_task(losses, selected_by):
    teachers = ("one",) if "distillation" in losses else ()
    found = stage(trains=("encoder",), losses=losses, teachers=teachers)
    assert found.selected_by == selected_by
    assert found.classifies == (selected_by in ("classification", "distillation"))


def test_a_frozen_head_may_still_tell_the_encoder_what_to_learn():
    assert stage(trains=("encoder",), losses=("reconstruction", "classification")).classifies


def test_of_a_task_without_head_the_flow_is_named_by_the_head_that_it_scores():
    student = {"name": "student", "epochs": 1, "trains": ("encoder",), **DISTIL}
    assert Stage(**student, flow={"classification": 0.5}).flow == {"classification": 0.5}

"""Missing leads in augmentation, in training, and in evaluation over several windows."""

import pytest
import torch

from ecgmtl.data.augment import AugmentSettings, augment
from ecgmtl.data.batch import Batch
from ecgmtl.evaluation.protocols import PROTOCOLS
from ecgmtl.model.network import MAIN
from ecgmtl.training.validation import validate
from tests.models import untrained
from tests.trainings import JOINT, training

MISSING = AugmentSettings(crop_seconds=0.7, leads_missing=0.4)
STAGE = JOINT.model_copy(
    update={
        "trains": ("encoder", "classifier"),
        "losses": (MAIN,),
        "weighting": type(JOINT).model_fields["weighting"].default,
        "augment": MISSING,
        "epochs": 1,
    }
)


def test_a_missing_lead_is_masked_over_the_whole_crop_in_its_record_alone():
    batch = Batch(torch.randn(32, 12, 70), torch.zeros(32, 2))
    mask = augment(batch, 100.0, MISSING, torch.Generator(), torch.Generator().manual_seed(0)).mask
    assert (mask.shape, mask.dtype) == ((32, 8, 70), torch.bool)
    assert torch.equal(mask, mask[..., :1].expand(-1, -1, 70))
    assert len(mask[..., 0].unique(dim=0)) > 16


def test_missing_leads_are_masked_in_a_stage_without_masking():
    run = training(STAGE)
    (batch, *_) = run.batches.of_epoch(0)
    assert batch.scored is None
    assert batch.mask.shape == (16, 8, 70)
    assert 0 < batch.mask.float().mean() < 1
    alone = torch.zeros_like(batch.mask)
    alone[:, 7] = True  # V6
    other = batch.input.index_fill(1, torch.tensor([11]), 5.0)
    run.model.eval()
    (seen,), (masked,), (changed,) = (
        run.learner.losses(each, (True,), 0.0)
        for each in (
            batch._replace(mask=None),
            batch._replace(mask=alone),
            batch._replace(mask=alone, input=other),
        )
    )
    assert torch.equal(masked, changed)
    assert not torch.equal(masked, seen)
    run.model.train()
    assert run.run_epoch().steps["loss.classification"].shape == (4,)
    assert set(validate(run.model, STAGE, run.validation)) == {"loss.classification", "macro_auroc"}


@pytest.mark.parametrize("name", ["whole", "fm-bench", "helme"])
def test_missing_leads_are_missing_in_every_window(name):
    protocol, model, signals = PROTOCOLS[name], untrained().model, torch.randn(2, 12, 1000)
    mask = torch.tensor([False] * 6 + [True] * 2)
    windows = protocol.windows(signals, 100.0)
    where = mask[None, :, None].expand(2, -1, windows.shape[-1])
    one_by_one = torch.stack([model(windows[:, w], where, (MAIN,))[MAIN] for w in range(windows.shape[1])]).double()
    chances = one_by_one.sigmoid()
    expected = chances.amax(dim=0) if protocol.aggregate == "max" else chances.mean(dim=0)
    torch.testing.assert_close(protocol.logits(model, signals, 100.0, mask).sigmoid(), expected, rtol=1e-5, atol=1e-6)
    other = signals.index_fill(1, torch.tensor([10, 11]), 3.0)  # V5 and V6
    assert torch.equal(protocol.logits(model, signals, 100.0, mask), protocol.logits(model, other, 100.0, mask))
    none = torch.zeros(8, dtype=torch.bool)
    assert torch.equal(protocol.logits(model, signals, 100.0, none), protocol.logits(model, signals, 100.0))

"""Losses of single tasks on batches made by hand."""

import torch

from ecgmtl.config.run import Config
from ecgmtl.data.batch import Batch
from ecgmtl.model.encoders.cnn import CnnSettings
from ecgmtl.model.heads import DecoderSettings, Reconstructed
from ecgmtl.tasks import LossInput, ReconstructionSettings, TaskSettings, build_task

PLAIN = ReconstructionSettings()


def build(leads=8):
    config = Config(encoder=CnnSettings(widths=(8, 8)), decoder=DecoderSettings(leads=leads))
    model = config.build_model(2, {"rhythm": 1})
    model.standardize.std.fill_(0.5)  # 1 mV is 2 units
    return model


def batch_of(signals, scored=None, rhythm=None):
    second = {} if rhythm is None else {"rhythm": rhythm}
    return Batch(signals, torch.tensor([[1.0, 0.0]]), second, scored=scored)


def loss(task, model, outputs, batch, settings=PLAIN, progress=1.0):
    return build_task(task, TaskSettings(reconstruction=settings)).loss(LossInput(model, outputs, batch, progress))


def decoded(mean, log_var=None):
    return {"reconstruction": Reconstructed(mean, log_var)}


def cost(*arguments, **options):
    return loss(*arguments, **options).item()

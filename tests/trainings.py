"""Small trainings on records whose labels can be seen."""

import numpy as np
import torch

from ecgmtl.config.run import Config
from ecgmtl.config.stage import Stage
from ecgmtl.data.augment import AugmentSettings
from ecgmtl.data.split import Split, lead_statistics
from ecgmtl.model.encoders.cnn import CnnSettings
from ecgmtl.model.encoders.cnn_transformer import CnnTransformerSettings
from ecgmtl.model.encoders.convnext import ConvNextSettings
from ecgmtl.model.encoders.leadwise import LeadwiseSettings
from ecgmtl.model.encoders.s4d import S4dSettings
from ecgmtl.model.encoders.transformer import TransformerSettings
from ecgmtl.optimization.weighting.uncertainty import UncertaintySettings
from ecgmtl.training.stage import StageTraining

CNN = CnnSettings(widths=(8, 6, 10))
SMALL = CnnSettings(widths=(8, 16))
ENCODERS = (
    CNN,
    TransformerSettings(width=8, depth=2, n_heads=2, dropout=0.0, drop_path=0.0),
    CnnTransformerSettings(stem=(6, 8), width=8, depth=2, n_heads=2, dropout=0.0, drop_path=0.0),
    S4dSettings(stem=(6, 8), depth=2, state=4, dropout=0.0),
    ConvNextSettings(widths=(6, 8), n_blocks=1, drop_path=0.0),
    LeadwiseSettings(lead_widths=(4, 6), widths=(6, 8)),
)

JOINT = Stage(
    name="joint",
    trains=("encoder", "decoder", "classifier"),
    losses=("reconstruction", "classification"),
    weighting=UncertaintySettings(),
    epochs=4,
    batch_size=16,
    augment=AugmentSettings(crop_seconds=1.5, shift=True, mixup=0.3, noise=0.01),
)

PROBE = Stage(name="probe", trains=("classifier",), losses=("classification",), epochs=2, batch_size=16)


def split(n=64, seed=0, auxiliary=False):
    """Records whose first label is a taller wave in lead I, its second one a faster rhythm."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, (n, 2))
    time = np.arange(200) / 100
    rate, height = 1.0 + 2.0 * labels[:, 1:], 300 + 700 * labels[:, :1]
    wave = height * np.maximum(np.sin(2 * np.pi * (rate * time + rng.uniform(size=(n, 1)))), 0) ** 8
    signals = wave[:, None, :] * rng.normal(1, 0.1, (n, 12, 1)) + rng.normal(0, 30, (n, 12, 200))
    return Split(
        signals=torch.from_numpy(signals.astype(np.int16)),
        labels=torch.from_numpy(labels.astype(np.float32)),
        label_names=("tall", "fast"),
        auxiliary_labels={"second": torch.from_numpy(labels.astype(np.float32))} if auxiliary else {},
        auxiliary_label_names={"second": ("tall", "fast")} if auxiliary else {},
        names=tuple(map(str, range(n))),
        patients=np.arange(n),
        groups=labels.astype(np.float32),
        group_names=("tall", "fast"),
        labeled=np.ones(n, dtype=bool),
        fs=100.0,
        columns={
            "age": np.where(labels[:, 0], 70.0, np.where(rng.random(n) < 0.1, 300.0, 40.0)),
            "sex": np.where(rng.random(n) < 0.1, np.nan, labels[:, 1]),
            "heart_axis": np.where(labels[:, 0], "LAD", np.where(labels[:, 1], "MID", "")).astype(object),
            "infarction_stadium1": np.where(labels[:, 0], "Stadium III", "").astype(object),
            "report_words": np.where(labels[:, 0], "high;rhythm", "rhythm").astype(object),
        },
    )


def training(stage=JOINT, seed=0, auxiliary=False, encoder=SMALL, **settings):
    config = Config(
        seed=seed, encoder=encoder, stages=(stage,), precision="fp32", auxiliary_labels=("second",), **settings
    )
    train = split(auxiliary=auxiliary)
    torch.manual_seed(seed)
    model = config.build_model(2, {"second": 2} if auxiliary else {})
    mean, std = lead_statistics(train)
    model.standardize.mean.copy_(mean)
    model.standardize.std.copy_(std)
    return StageTraining(model, stage, config, train, split(32, 1, auxiliary))

"""Numbers compared with those of other programs, and plots whose distances are measured."""

import numpy as np
import torch

from benchmarks.survival.registry import Measured, Most, Trial, fault


@fault(
    "R22",
    "exports to ONNX and to a torch program, in batches of 1, 2, 7, 64 and 257",
    {"difference of a probability": Most(1e-5), "tensors of the decoder in an export": Most(0)},
)
def compare_exports(trial: Trial) -> Measured:
    from ecgmtl.export.write import export
    from ecgmtl.inference.predictor import load_predictor
    from ecgmtl.metrics.sigmoid import sigmoid
    from tests.models import untrained

    stored = untrained()
    signals = 0.2 * torch.randn(257, 12, 1000, generator=torch.Generator().manual_seed(trial.seed))
    with torch.inference_mode():
        expected = stored.model.classify(signals).double().sigmoid().numpy()
    decoder = [
        v.numpy().tobytes() for v in stored.model.heads["reconstruction"].state_dict().values() if v.numel() > 16
    ]
    worst, leaked = 0.0, 0
    for kind in ("onnx", "pt2"):
        path = export(stored, kind, trial.folder / f"c.{kind}", signals[:3]).path
        leaked += sum(values in path.read_bytes() for values in decoder)
        predictor = load_predictor(str(path))
        for size in (1, 2, 7, 64, 257):
            worst = max(worst, float(np.abs(sigmoid(predictor.logits(signals[:size].numpy())) - expected[:size]).max()))
    return Measured(
        "2 formats, 5 sizes of batches",
        {"difference of a probability": worst, "tensors of the decoder in an export": leaked},
    )


@fault(
    "R23",
    "AUROC and average precision against scikit-learn, with ties, weights and labels of one class",
    {"difference": Most(1e-12), "labels that only one of them defines": Most(0)},
)
def compare_metrics(trial: Trial) -> Measured:
    from sklearn import metrics as sk

    from ecgmtl.metrics.ranking import rank_labels, weigh
    from tests.rankings import case, oracle

    n_cases, worst, undefined = trial.count(500), 0.0, 0
    for seed in range(n_cases):
        scores, labels, weights = case(trial.seed * n_cases + seed)
        ours = weigh(rank_labels(scores, labels), weights[:, None])
        for own, other in ((ours.auroc[0], sk.roc_auc_score), (ours.auprc[0], sk.average_precision_score)):
            theirs = oracle(other, scores, labels, weights)
            undefined += int((np.isnan(own) != np.isnan(theirs)).sum())
            both = np.isfinite(own) & np.isfinite(theirs)
            worst = max([worst, *np.abs(own - theirs)[both].tolist()])
    return Measured(f"{n_cases} random cases", {"difference": worst, "labels that only one of them defines": undefined})


@fault("R24", "gradient rules against torchjd on random Jacobians", {"difference of the direction": Most(1e-6)})
def compare_rules(trial: Trial) -> Measured:
    from tests.optimization.gradient_rules.test_torchjd import PAIRS, SHAPES, TASKS, jacobian

    worst, n_jacobians = 0.0, trial.count(200)
    for number in range(n_jacobians):
        rows = jacobian(SHAPES[number % len(SHAPES)], seed=trial.seed * n_jacobians + number)
        wide = rows.double()
        for settings, theirs in PAIRS.values():
            ours = settings.build(TASKS[:2]).combine(rows, 0, 0).double()
            expected = theirs()(wide / wide.norm())
            worst = max(worst, float((ours / ours.norm() - expected / expected.norm()).norm()))
    return Measured(f"{n_jacobians} Jacobians, {len(PAIRS)} rules", {"difference of the direction": worst})


@fault(
    "R26",
    "an ECG on paper: 10 mm/mV, 25 mm/s, each lead once in addition to the rhythm strip",
    {"error of a millivolt": Most(0.1, "mm"), "error of a second": Most(0.1, "mm"), "leads lost or doubled": Most(0)},
)
def measure_paper(_trial: Trial) -> Measured:
    from data_prep.leads import STANDARD_LEADS
    from data_prep.paper import plot_ecg
    from tests.data_prep.test_paper import millimeters

    rates, volts, seconds, leads = (100.0, 250.0, 500.0), 0.0, 0.0, 0
    for fs in rates:
        signal = np.zeros((12, round(10 * fs)), np.float32)
        signal[0, round(fs) :] = 1.0
        figure = plot_ecg(signal, fs)
        figure.set_dpi(300)
        lines = [line for line in figure.axes[0].lines if line.get_gid() in STANDARD_LEADS]
        points = millimeters(figure, next(line for line in lines if line.get_gid() == "I").get_xydata())
        volts = max(volts, abs(points[round(fs), 1] - points[0, 1] - 10))
        seconds = max(seconds, abs(points[round(2 * fs), 0] - points[round(fs), 0] - 25))
        leads += abs(len(lines) - 13) + len(set(STANDARD_LEADS) - {line.get_gid() for line in lines})
    return Measured(
        f"{len(rates)} sampling rates, at 300 dpi",
        {"error of a millivolt": volts, "error of a second": seconds, "leads lost or doubled": leads},
    )

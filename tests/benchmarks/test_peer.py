import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.peer import Xresnet1d101


def test_the_peer_has_the_published_shape():
    model = Xresnet1d101(71).eval()
    # counted on the published program: 1.88 million parameters, 0.082 GFLOP for 2.5 s at 100 Hz
    assert round(sum(parameter.numel() for parameter in model.parameters()) / 1e6, 2) == 1.88
    with FlopCounterMode(display=False) as counted:
        logits = model(torch.randn(1, 12, 250))
    assert logits.shape == (1, 71)
    assert round(counted.get_total_flops() / 1e9, 3) == 0.082

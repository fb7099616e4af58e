"""A request to export: the outcome in words."""

from dataclasses import replace

import pytest

from ecgmtl import checkpoint
from ecgmtl.export.format import ExportFormat
from ecgmtl.export.request import ExportRequest, run_export
from ecgmtl.metrics.typicality import fit_typicality


@pytest.fixture
def typicality(stored, rng):
    signals = rng.normal(0, 0.2, (120, 12, stored.config.preprocess.n_samples)).astype("float32")
    return fit_typicality([signals], [signals], stored.config.preprocess.fs)


@pytest.mark.parametrize(
    ("knows", "said"), [(True, ""), (False, "It cannot detect records unlike the training records")]
)
def test_an_export_says_what_it_lacks(stored, typicality, tmp_path, knows, said):
    model, out = tmp_path / "model.safetensors", tmp_path / "c.pt2"
    checkpoint.save(model, replace(stored, typicality=typicality if knows else None))
    exported = run_export(ExportRequest(str(model), ExportFormat.PT2, out))
    assert exported.summary.startswith(f"{out}: {out.stat().st_size / 1e6:.2f} MB, probabilities differ by at most ")
    assert exported.missing.partition(". ")[0] == said

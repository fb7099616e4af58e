import hashlib
from dataclasses import replace
from math import comb

import numpy as np
import pytest
import torch
import wfdb

from data_prep.lead_set import LeadSet
from data_prep.leads import BASIS_LEADS, STANDARD_LEADS
from data_prep.preprocess import Preprocess
from data_prep.readers import read_record
from data_prep.record import RecordError
from ecgmtl import checkpoint
from ecgmtl.data.masking import MaskingSettings, rarity, sample_mask
from ecgmtl.inference.reconstruct import (
    ReconstructError,
    new_header,
    reconstruct,
    write_reconstruction,
)
from ecgmtl.model.encoders.cnn import CnnSettings
from ecgmtl.optimization.weighting.fixed import FixedSettings
from tests.models import untrained
from tests.wfdb_files import beats, make_record, sentences, write_wfdb

LEADS = LeadSet.parse("I,II,V2")
GIVEN = [0, 1, 7]


@pytest.fixture(scope="module")
def stored():
    return untrained(CnnSettings(widths=(8, 16)))


@pytest.fixture
def written(stored, tmp_path):
    """A reconstruction, the file of the model, and the header that was written."""
    model = tmp_path / "model.safetensors"
    checkpoint.save(model, stored)
    found = reconstruct(stored, make_record(name="patient 4711"), LEADS)
    header = new_header(tmp_path / "filled")
    write_reconstruction(found, header, model)
    return found, model, header


def test_measured_leads_are_unchanged_bit_for_bit(stored):
    signal = beats() + np.float32(0.75)  # an offset, which the model never sees, stays
    found = reconstruct(stored, make_record(signal), LEADS).signal
    np.testing.assert_array_equal(found[GIVEN], np.rint(1000 * signal.T[GIVEN]))


@pytest.mark.parametrize("leads", ["I,II,V2", "I,V2", "V1,V4", "III,aVF,V2"])
@pytest.mark.parametrize("n_leads", [8, 12])
def test_limb_leads_obey_einthoven_and_goldberger(leads, n_leads):
    torch.manual_seed(0)
    base = untrained(CnnSettings(widths=(8, 16)))
    config = base.config.model_copy(update={"decoder": base.config.decoder.model_copy(update={"leads": n_leads})})
    found = reconstruct(
        replace(base, config=config, model=config.build_model(5).eval()), make_record(), LeadSet.parse(leads)
    )
    one, two, three, avr, avl, avf = found.signal[:6].astype(int)
    for error in (three - two + one, avr + (one + two) / 2, avl - one + two / 2, avf - two + one / 2):
        assert np.abs(error).max() <= 1.5  # three values rounded to 1 µV


def test_reconstructed_leads_are_the_output_of_the_model_for_the_prepared_record(stored):
    record = make_record()
    signal = torch.from_numpy(Preprocess()(record).signal)[None]
    mask = torch.tensor([lead not in LEADS.given for lead in BASIS_LEADS])[None, :, None].expand(-1, -1, 1000)
    with torch.inference_mode():
        wanted = stored.model.reconstruct(signal, mask)[0].numpy()
    found = reconstruct(stored, record, LEADS).signal
    np.testing.assert_allclose(found[[6, 8, 9, 10, 11]], 1000 * wanted[[6, 8, 9, 10, 11]], atol=0.51)


def test_other_leads_of_the_file_are_not_used(stored, rng):
    signal = beats()
    other = signal.copy()
    other[:, [2, 3, 4, 5, 6, 8, 9, 10, 11]] = rng.normal(size=(1000, 9))
    alone = make_record(signal[:, GIVEN], leads=LEADS.given)
    wanted = reconstruct(stored, make_record(signal), LEADS).signal
    for record in (make_record(other), alone):
        np.testing.assert_array_equal(reconstruct(stored, record, LEADS).signal, wanted)


def test_a_longer_record_is_reconstructed_window_by_window(stored):
    long = beats(2300)
    found = reconstruct(stored, make_record(long), LEADS).signal
    for start, stop in ((0, 1000), (1000, 2000)):
        part = reconstruct(stored, make_record(long[start:stop]), LEADS).signal
        np.testing.assert_array_equal(found[:, start:stop], part)
    last = reconstruct(stored, make_record(long[1300:]), LEADS).signal
    np.testing.assert_array_equal(found[:, 2000:], last[:, 700:])


def test_a_shorter_record_keeps_its_length(stored):
    found = reconstruct(stored, make_record(beats(400)), LEADS)
    assert found.signal.shape == (12, 400)
    with pytest.raises(RecordError, match=r"at least 2\.5 s"):
        reconstruct(stored, make_record(beats(200)), LEADS)


def test_another_sampling_rate_is_resampled_with_a_warning(stored):
    found = reconstruct(stored, make_record(beats(5000, 500.0), 500.0), LEADS)
    assert found.signal.shape == (12, 1000)
    assert "resampled from 500 to 100 Hz, the model's rate." in [remark.sentence for remark in found.remarks]


def test_wfdb_reads_the_record_bit_for_bit(written):
    found, _, header = written
    record = wfdb.rdrecord(str(header.with_suffix("")), physical=False)
    np.testing.assert_array_equal(record.d_signal.T, found.signal)
    assert (record.fs, set(record.fmt), set(record.units), set(record.adc_gain)) == (100, {"16"}, {"mV"}, {1000.0})


def test_a_reconstructed_lead_is_marked_in_its_name_and_in_the_header(written):
    _, model, header = written
    record = wfdb.rdheader(str(header.with_suffix("")))
    marked = ("V1", "V3", "V4", "V5", "V6")
    assert record.sig_name == [f"{lead} reconstructed" if lead in marked else lead for lead in STANDARD_LEADS]
    comments = "\n".join(record.comments)
    assert "not all of these leads were measured" in comments
    assert "measured leads: I, II, V2" in comments
    assert "derived leads: III, aVR, aVL, aVF" in comments
    assert "reconstructed leads: V1, V3, V4, V5, V6" in comments
    assert hashlib.sha256(model.read_bytes()).hexdigest() in comments
    assert "4711" not in header.read_text()


def test_a_written_record_is_prepared_unchanged_with_a_warning(written):
    found, _, header = written
    again = Preprocess(baseline="keep")(read_record(header))
    np.testing.assert_allclose(1000 * again.signal, found.signal, atol=1e-3)
    reconstructed = (
        "leads V1, V3, V4, V5 and V6 are reconstructed by a model, not measured; the result is less certain."
    )
    assert reconstructed in sentences(again)  # the output of an untrained model has other findings, too


def test_a_reconstruction_of_a_reconstruction_is_rejected(stored, written):
    with pytest.raises(RecordError, match="lead V1 is reconstructed by a model; start from"):
        reconstruct(stored, read_record(written[2]), LeadSet.parse("I,II,V1"))


def test_no_file_is_overwritten(written):
    found, model, header = written
    header.unlink()  # its samples are there still
    before = header.with_suffix(".dat").read_bytes()
    with pytest.raises(ReconstructError, match=r"filled\.dat exists already"):
        write_reconstruction(found, header, model)
    assert header.with_suffix(".dat").read_bytes() == before


@pytest.mark.parametrize(("name", "said"), [("a.csv", "a WFDB record"), ("a b", "letters, digits"), ("", "a folder")])
def test_a_name_that_cannot_be_written_is_rejected(tmp_path, name, said):
    with pytest.raises(ReconstructError, match=said):
        new_header(tmp_path / name)


def test_the_folder_of_a_record_is_made(written, tmp_path):
    found, model, _ = written
    write_reconstruction(found, new_header(tmp_path / "new/a"), model)
    assert (tmp_path / "new/a.hea").is_file()
    (tmp_path / "file").touch()
    with pytest.raises(ReconstructError, match=r"file/a\.hea: cannot be written"):
        write_reconstruction(found, new_header(tmp_path / "file/a"), model)


def test_a_model_without_trained_decoder_is_rejected(stored):
    stage = stored.config.stages[1].model_copy(
        update={"trains": ("encoder", "classifier"), "losses": ("classification",), "weighting": FixedSettings()}
    )
    config = stored.config.model_copy(update={"stages": (stage,)})
    with pytest.raises(ReconstructError, match="never trained to reconstruct"):
        reconstruct(replace(stored, config=config), make_record(), LEADS)


def test_rarity_is_the_frequency_of_sampled_masks():
    settings = MaskingSettings(share=0.5, time=0.0, leads=0.6)
    # P(X >= 5), X binomial of 8 and 0.6, half of the records: 0.5 * 0.5941 = 0.297
    by_hand = 0.5 * sum(comb(8, k) * 0.6**k * 0.4 ** (8 - k) for k in range(5, 9))
    n_masked = sample_mask((20_000, 2), 100.0, settings, torch.Generator().manual_seed(0))[..., 0].sum(dim=1)
    assert rarity(settings, 5) == pytest.approx(by_hand)
    assert rarity(settings, 5) == pytest.approx(float((n_masked >= 5).float().mean()), abs=0.01)
    assert rarity(settings, 8) == 0.0  # one lead is always visible


def test_a_model_that_rarely_had_so_many_leads_masked_has_a_warning(stored):
    warnings = [remark.sentence for remark in reconstruct(stored, make_record(), LEADS).remarks]
    assert any("5 or more of 8 independent leads were masked in 1.04% of its training" in text for text in warnings)
    stages = tuple(stage.model_copy(update={"masking": MaskingSettings(leads=0.6)}) for stage in stored.config.stages)
    used = replace(stored, config=stored.config.model_copy(update={"stages": stages}))
    assert reconstruct(used, make_record(), LEADS).remarks == ()


@pytest.mark.parametrize(
    ("leads", "said"), [("I,V2", "only I of the limb leads is given"), ("V1,V2", "none of the limb leads is given")]
)
def test_a_guessed_axis_has_a_warning(stored, leads, said):
    remarks = reconstruct(stored, make_record(), LeadSet.parse(leads)).remarks
    assert any(said in remark.sentence for remark in remarks)


def test_a_lead_beyond_sixteen_bits_is_rejected(stored):
    with pytest.raises(RecordError, match=r"up to 32\.767 mV can be written"):
        reconstruct(stored, make_record(beats() + np.float32(40.0)), LEADS)


def test_a_file_is_read_as_in_prediction(stored, tmp_path):
    record = read_record(write_wfdb(tmp_path))
    found = reconstruct(stored, record, LEADS).signal
    np.testing.assert_array_equal(found[GIVEN], np.fromfile(tmp_path / "00001_lr.dat", "<i2").reshape(-1, 12).T[GIVEN])

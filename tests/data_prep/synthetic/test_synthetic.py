import numpy as np
import pandas as pd
import pytest
import wfdb
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import find_peaks

from data_prep.preprocess import Preprocess
from data_prep.readers import read_record
from data_prep.sources.tables import SourceError
from data_prep.store.open import open_store
from data_prep.store.prepare import prepare
from data_prep.synthetic.folder import STATEMENTS, sample_statements, write_ptbxl
from data_prep.synthetic.waveform import NORMAL, synthesize, waves_of

FS = 500


def ecgs(*statements, n=12):
    """Signals in mV: (record, time, lead)."""
    drawn = [synthesize([*statements], FS, 10.0, np.random.default_rng(i)) for i in range(n)]
    return np.stack(drawn) / 1000


def peaks(lead):
    strength = np.abs(np.gradient(lead))
    return find_peaks(strength, height=0.4 * strength.max(), distance=0.25 * FS)[0]


def beat(signals, lead, before=0.4, after=0.5):
    """The mean beat of a lead over all records, the R peak of lead II at `before` seconds."""
    beats = []
    for signal in signals:
        found = find_peaks(np.abs(signal[:, 1]), height=0.5 * np.abs(signal[:, 1]).max(), distance=0.3 * FS)[0]
        beats += [
            signal[p - int(before * FS) : p + int(after * FS), lead]
            for p in found
            if before * FS < p < len(signal) - after * FS
        ]
    mean = np.mean(beats, axis=0)
    return mean - np.median(mean[: int(0.1 * FS)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("synthetic")
    write_ptbxl(place, 60, seed=0)
    return place


def test_the_leads_obey_einthoven_and_goldberger():
    one, two, three, avr, avl, avf = np.moveaxis(np.rint(ecgs("IMI", "SR") * 1000), 2, 0)[:6]
    assert np.array_equal(three, two - one)
    for derived, expected in ((avr, -(one + two) / 2), (avl, one - two / 2), (avf, two - one / 2)):
        assert np.abs(derived - expected).max() <= 1


def test_files_are_read_alike_by_wfdb_and_by_us(folder):
    name = folder / "records100/00000/00007_lr"
    ours, theirs = read_record(name.with_suffix(".hea")), wfdb.rdsamp(str(name))
    np.testing.assert_allclose(ours.signal, theirs[0], atol=1e-6)
    assert list(ours.leads) == theirs[1]["sig_name"]
    assert ours.remarks == ()


def test_a_record_does_not_depend_on_how_many_there_are(folder, tmp_path):
    write_ptbxl(tmp_path, 12, seed=0)
    for name in ("00003_lr.dat", "00012_lr.hea"):
        assert (tmp_path / "records100/00000" / name).read_bytes() == (folder / "records100/00000" / name).read_bytes()


def test_the_folder_prepares_like_ptbxl(folder, tmp_path):
    report = prepare(folder, tmp_path / "store", Preprocess(), "superdiagnostic")
    store = open_store(tmp_path / "store")
    assert (report.n_records, report.failures) == (60, ())
    assert store.label_names("superdiagnostic") == ("CD", "HYP", "MI", "NORM", "STTC")
    assert store.labels("superdiagnostic").any(axis=1).mean() > 0.9


def test_superclasses_are_about_as_frequent_as_in_ptbxl():
    sampled = [sample_statements(np.random.default_rng(i)) for i in range(2000)]
    classes = pd.Series([{STATEMENTS[code][4] for code in codes} for codes in sampled])
    # of 21,799: NORM 9514, MI 5469, STTC 5235, CD 4898, HYP 2649
    for name, share in {"NORM": 0.436, "MI": 0.251, "STTC": 0.240, "CD": 0.225, "HYP": 0.122}.items():
        assert classes.map(lambda found, name=name: name in found).mean() == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize(("statement", "low", "high"), [("SBRAD", 36, 58), ("SR", 58, 98), ("STACH", 98, 145)])
def test_the_heart_beats_as_its_label_says(statement, low, high):
    rates = [60 * FS / np.diff(peaks(signal[:, 1])).mean() for signal in ecgs("NORM", statement)]
    assert low <= np.median(rates) <= high


def test_fibrillation_is_irregular_and_has_no_p_wave():
    def scatter(signals):
        gaps = [np.diff(peaks(signal[:, 1])) for signal in signals]
        return np.mean([gap.std() / gap.mean() for gap in gaps])

    assert scatter(ecgs("NORM", "AFIB")) > 3 * scatter(ecgs("NORM", "SR"))
    assert "P" not in waves_of(["NORM", "AFIB"], 1.0)


@pytest.mark.parametrize(("statement", "lead"), [("IMI", 2), ("IMI", 5), ("ASMI", 7), ("ALMI", 4)])
def test_an_infarct_raises_st_and_adds_a_q_wave_in_its_leads(statement, lead):
    infarct, normal = (beat(ecgs(s, "SR"), lead) for s in (statement, "NORM"))
    st, q = slice(int(0.48 * FS), int(0.52 * FS)), slice(int(0.36 * FS), int(0.40 * FS))
    assert infarct[st].mean() > normal[st].mean() + 0.05
    assert infarct[q].min() < normal[q].min() - 0.1


def test_ischemia_lowers_st_and_inverts_t():
    ischaemic, normal = (beat(ecgs(s, "SR"), 10) for s in ("ISC_", "NORM"))
    assert ischaemic[int(0.50 * FS) : int(0.54 * FS)].mean() < -0.05
    late = slice(int(0.62 * FS), int(0.75 * FS))
    assert ischaemic[late].mean() < 0 < normal[late].mean()


def test_bundle_branch_block_widens_the_qrs():
    def width(statement):
        steep = np.abs(np.gradient(beat(ecgs(statement, "SR"), 6)))
        found = np.flatnonzero(steep > 0.15 * steep.max())
        return (found[-1] - found[0]) / FS

    assert width("CLBBB") > 0.11
    assert width("CRBBB") > width("NORM") + 0.02


def test_first_degree_block_lengthens_pr():
    def p_peak(statement):
        return np.argmax(beat(ecgs(statement, "SR"), 1)[: int(0.32 * FS)]) / FS

    assert p_peak("NORM") - p_peak("1AVB") > 0.03
    assert waves_of(["1AVB"], 1.0)["P"].at < NORMAL["P"].at - 0.1


def test_hypertrophy_raises_the_voltage():
    # Sokolow and Lyon: S in V1 plus R in V5
    def voltage(statement):
        signals = ecgs(statement, "SR")
        return np.mean(signals[:, :, 10].max(axis=1) - signals[:, :, 6].min(axis=1))

    assert voltage("LVH") > 1.3 * voltage("NORM")


def test_no_patient_is_in_two_splits(folder, tmp_path):
    prepare(folder, tmp_path / "store", Preprocess(), "superdiagnostic")
    records = open_store(tmp_path / "store").records
    splits = records.groupby("patient_id")["split"].nunique()
    assert (len(splits) < len(records), splits.max()) == (True, 1)
    assert set(records["split"]) == {"train", "validation", "test"}


@pytest.mark.parametrize("lead", [1, 2, 5])
def test_an_inferior_infarct_raises_st_in_ii_iii_and_avf(lead):
    infarct, normal = (beat(ecgs(s, "SR", n=24), lead) for s in ("IMI", "NORM"))
    st = slice(int(0.48 * FS), int(0.54 * FS))
    assert infarct[st].mean() > normal[st].mean() + 0.05


def test_the_same_seed_gives_the_same_records_and_another_does_not(folder, tmp_path):
    for name, seed in (("again", 0), ("other", 1)):
        write_ptbxl(tmp_path / name, 6, seed=seed)
    record = "records100/00000/00004_lr.dat"
    assert (tmp_path / "again" / record).read_bytes() == (folder / record).read_bytes()
    assert (tmp_path / "other" / record).read_bytes() != (folder / record).read_bytes()
    tables = [pd.read_csv(place / "ptbxl_database.csv") for place in (tmp_path / "again", folder)]
    pd.testing.assert_frame_equal(tables[0], tables[1][:6])


def test_premature_beats_come_early_and_are_wide():
    def gaps(*statements):
        return np.concatenate([np.diff(peaks(s[:, 1])) / np.median(np.diff(peaks(s[:, 1]))) for s in ecgs(*statements)])

    assert np.mean(gaps("NORM", "SR", "PVC") < 0.8) > 0.08 > 0.02 > np.mean(gaps("NORM", "SR") < 0.8)


def test_records_of_500_hz_are_written_and_of_300_refused(tmp_path):
    write_ptbxl(tmp_path, 2, seed=0, fs=500)
    record = read_record(tmp_path / "records500/00000/00002_hr.hea")
    assert (record.fs, record.signal.shape) == (500.0, (5000, 12))
    with pytest.raises(SourceError, match="fs is 300; PTB-XL has records at 100 and at 500 Hz"):
        write_ptbxl(tmp_path / "other", 2, seed=0, fs=300)
    assert not (tmp_path / "other").exists()


@given(
    codes=st.lists(st.sampled_from(sorted(set(STATEMENTS) - {"AFIB"})), unique=True, max_size=5),
    seconds=st.sampled_from([2.5, 5.0, 10.0]),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=40, deadline=None)
def test_every_synthetic_ecg_is_plausible(codes, seconds, seed):
    signal = synthesize(codes, 100, seconds, np.random.default_rng(seed)).astype(int)
    assert signal.shape == (round(100 * seconds), 12)
    assert np.array_equal(signal[:, 2], signal[:, 1] - signal[:, 0])
    assert np.abs(signal).max() < 10_000
    assert np.ptp(signal, axis=0).min() > 20

import struct

import numpy as np
import pytest

from data_prep.leads import STANDARD_LEADS
from data_prep.paper import INK, MM_PER_INCH, RECONSTRUCTED, plot_ecg
from data_prep.record import Record, RecordError


@pytest.fixture
def signal(rng):
    return rng.normal(0, 0.2, (12, 1000)).astype(np.float32)


def millimeters(figure, values):
    """Where points of the axes lie on the printed sheet."""
    axes = figure.axes[0]
    return axes.transData.transform(values) / figure.dpi * MM_PER_INCH


def test_the_paper_is_true_to_scale(signal):
    signal[:] = 0.0
    signal[0, 100:] = 1.0  # a step of 1 mV in lead I after one second
    figure = plot_ecg(signal, 100.0)
    line = next(line for line in figure.axes[0].lines if line.get_gid() == "I")
    points = millimeters(figure, line.get_xydata())
    assert points[100, 1] - points[0, 1] == pytest.approx(10.0, abs=0.1)
    assert points[200, 0] - points[100, 0] == pytest.approx(25.0, abs=0.1)


def test_the_calibration_pulse_is_one_millivolt_for_a_fifth_of_a_second(signal):
    figure = plot_ecg(signal, 100.0)
    pulse = next(line for line in figure.axes[0].lines if line.get_gid() == "calibration")
    points = millimeters(figure, pulse.get_xydata())
    assert np.ptp(points[:, 1]) == pytest.approx(10.0, abs=0.1)
    assert points[3, 0] - points[2, 0] == pytest.approx(5.0, abs=0.1)


def test_each_lead_is_plotted_once_beside_the_strip(signal):
    plotted = [line.get_gid() for line in plot_ecg(signal, 100.0).axes[0].lines if line.get_gid() in STANDARD_LEADS]
    assert sorted(plotted) == sorted([*STANDARD_LEADS, "II"])


def test_a_reconstruction_is_plotted_where_samples_are_masked(signal, tmp_path):
    mask = np.zeros((12, 1000), bool)
    mask[:, 200:240] = True
    figure = plot_ecg(signal, 100.0, "a", reconstruction=signal + 0.1, mask=mask)
    reconstructed = [line for line in figure.axes[0].lines if line.get_gid() is None and len(line.get_ydata()) > 2]
    n_samples = sum(np.isfinite(line.get_ydata()).sum() for line in reconstructed)
    assert n_samples == 3 * 40 + 40  # three leads share the first quarter, and the strip
    figure.savefig(tmp_path / "ecg.png", dpi=50)
    assert (tmp_path / "ecg.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("seconds", [2.5, 5.0, 10.0])
def test_the_printed_sheet_is_as_large_as_the_record_is_long(rng, seconds):
    signal = rng.normal(0, 0.2, (12, round(500 * seconds))).astype(np.float32)
    figure = plot_ecg(signal, 500.0)
    box = figure.axes[0].get_position()
    width, height = figure.get_size_inches() * MM_PER_INCH
    assert box.width * width == pytest.approx(25.0 * seconds, abs=0.1)
    x0, x1 = figure.axes[0].get_xlim()
    y0, y1 = figure.axes[0].get_ylim()
    assert box.width * width / (x1 - x0) == pytest.approx(1.0, abs=1e-3)  # one unit of the axes is a millimeter
    assert box.height * height / (y1 - y0) == pytest.approx(1.0, abs=1e-3)


def test_the_leads_follow_each_other_in_time(signal):
    signal[:] = np.arange(12)[:, None] / 100 + np.arange(1000) / 1e5
    lines = {line.get_gid(): line for line in plot_ecg(signal, 100.0).axes[0].lines if len(line.get_ydata()) > 200}
    for row in (("I", "aVR", "V1", "V4"), ("III", "aVF", "V3", "V6")):
        for column, lead in enumerate(row):
            x, y = lines[lead].get_xydata().T
            assert (x[0], x[250 - 1]) == pytest.approx((62.5 * column, 62.5 * (column + 1) - 0.25))
            shown = signal[STANDARD_LEADS.index(lead), 250 * column : 250 * (column + 1)]
            np.testing.assert_allclose(np.diff(y[:250]), 10 * np.diff(shown), atol=1e-4)


def test_a_png_has_the_size_of_the_paper(signal, tmp_path):
    figure = plot_ecg(signal, 100.0, "a record")
    figure.savefig(tmp_path / "ecg.png", dpi=50)
    content = (tmp_path / "ecg.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    pixels = struct.unpack(">II", content[16:24])
    assert pixels == pytest.approx(tuple(figure.get_size_inches() * 50), abs=1)


def test_a_record_is_plotted_with_the_leads_that_it_has_around_their_medians(rng):
    signal = rng.normal(0, 0.1, (3000, 3)).astype(np.float32) + 5.0
    figure = Record("r", signal, 250.0, ("V5", "foo", "EKG II")).plot(start=1.0, seconds=10.0)
    lines = {line.get_gid(): line.get_ydata() for line in figure.axes[0].lines if line.get_gid() in STANDARD_LEADS}
    drawn = {lead for lead, values in lines.items() if np.isfinite(values).any()}
    assert drawn == {"V5", "II"}
    median = np.median(signal[250:2750, 2])
    strip = lines["II"]  # the last line of this name is the rhythm strip
    assert strip == pytest.approx(15.0 + 10.0 * (signal[250:2750, 2] - median), abs=1e-3)


@pytest.mark.parametrize(
    ("leads", "start", "message"), [(("foo",), 0.0, "no standard lead"), (("II",), 30.0, "no sample in these seconds")]
)
def test_a_record_with_nothing_to_plot_is_refused_by_name(rng, leads, start, message):
    record = Record("r7", rng.normal(size=(1000, 1)).astype(np.float32), 100.0, leads)
    with pytest.raises(RecordError, match=f"r7: there is {message}"):
        record.plot(start)


def test_a_lead_that_a_model_reconstructed_is_marked(rng):
    signal = rng.normal(0, 0.1, (1000, 2)).astype(np.float32)
    axes = Record("r", signal, 100.0, ("II", "V1 reconstructed")).plot().axes[0]
    assert {"V1 reconstructed", "II", "V2"} <= {text.get_text() for text in axes.texts}
    colors = {line.get_gid(): line.get_color() for line in axes.lines}
    assert (colors["V1"], colors["II"]) == (RECONSTRUCTED, INK)

"""Units and sampling rates are understood as files spell them, and never guessed."""

import pytest

from data_prep.units import UNITS, parse_rate, parse_unit


@pytest.mark.parametrize(
    ("unit", "spellings"),
    [
        ("nV", "nV nv nanovolts"),
        ("uV", "uV UV uv \u00b5V \u03bcV \u33b6 microV microvolt Microvolts [uV] (\u00b5V) micro-volts mikrovolt"),
        ("mV", "mV MV mv millivolt mVolts MilliVolts [mV] 'mV'"),
        ("V", "V v Volt volts"),
        ("none", "none None"),
        (None, "mmHg counts m \ufffdV nan mA mV/mm 1"),
    ],
)
def test_units_are_known_by_the_names_that_files_give_them(unit, spellings):
    assert {spelling: parse_unit(spelling) for spelling in spellings.split()} == dict.fromkeys(spellings.split(), unit)


def test_every_unit_is_known_by_its_own_name():
    assert [parse_unit(unit) for unit in UNITS] == list(UNITS)
    assert parse_unit(" milli volts ") == "mV"
    assert parse_unit("") is None


@pytest.mark.parametrize(
    ("rate", "spellings"),
    [
        (
            250.0,
            "250|250 Hz|250Hz|250.0|250 hertz|0.25 kHz|250,00 Hz|250 samples/s|250 samples per s|250\u00a0HZ|2.5e2",
        ),
        (499.5, "499.5|499,5"),
        (None, "1,000|1,000 Hz|1k|fast|0|-1|nan|inf|1e999|1_000||250 mV|250 500"),
    ],
)
def test_rates_are_understood_with_their_unit(rate, spellings):
    assert {text: parse_rate(text) for text in spellings.split("|")} == dict.fromkeys(spellings.split("|"), rate)

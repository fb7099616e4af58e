"""Words that many patients' reports share. Nothing else of a report is kept, because it may name a person."""

import re
import unicodedata

import pandas as pd

from data_prep.sources.tables import SEPARATOR

LEAST_PATIENTS = 20
"""Smallest number of patients whose reports contain a word. Rarer words, such as most names, are dropped."""
WORD = re.compile(r"[^\W\d_]{3,}")
"""At least three letters: shorter words are mostly articles, and names of leads and waves."""
SPELLED_OUT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})
"""The two spellings of German umlauts, of which PTB-XL has both."""


def common_words(reports: pd.Series, patients: pd.Series) -> pd.Series:
    """Return the words of each report that the reports of at least 20 patients contain, in one sorted cell.

    reports: free text in any language; patients: the patient of each report.
    """
    held = reports.map(words_of).explode().dropna()
    n_patients = patients.loc[held.index].groupby(held.to_numpy()).nunique()
    common = held[held.isin(n_patients.index[n_patients >= LEAST_PATIENTS])]
    cells = common.groupby(level=0).agg(lambda words: SEPARATOR.join(sorted(words)))
    return cells.reindex(reports.index, fill_value="")


def words_of(report: str) -> list[str]:
    """Return the distinct words of a report, in lower case and with umlauts spelled out."""
    text = unicodedata.normalize("NFC", report).casefold().translate(SPELLED_OUT)
    return sorted(set(WORD.findall(text)))

"""Two leads with the same signal, as when a lead was copied over another.

The difference of two leads, relative to the smaller of them, is 0.013 or more in each of 3,835 records of PTB-XL.
"""

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from data_prep.quality.check_input import CheckInput
from data_prep.quality.finding import Finding, Severity

SAME = 0.005
"""Standard deviation of the difference of two leads, relative to the smaller of them, below which they are the same."""


def check(subject: CheckInput) -> Iterator[Finding]:
    """Yield a finding for each two leads that have the same signal. It rules out a decision."""
    signal = subject.signal.astype(np.float64)
    signal -= signal.mean(axis=1, keepdims=True)
    products = signal @ signal.T
    squares = np.diag(products)
    differences = np.sqrt(np.maximum(squares[:, None] + squares - 2 * products, 0))
    smaller = np.sqrt(np.minimum(squares[:, None], squares))
    same = (differences <= SAME * smaller) & (smaller > 0)
    for one, other in combinations(range(len(subject.leads)), 2):
        if same[one, other]:
            leads = subject.leads[one], subject.leads[other]
            sentence = f"leads {leads[0]} and {leads[1]} have the same signal; was one copied over the other?"
            value = float(differences[one, other] / smaller[one, other])
            yield Finding("lead-twice", sentence, Severity.NO_DECISION, leads, value)

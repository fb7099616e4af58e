"""Quality of a record: one check for `predict`, `data prepare` and `data check`.

To add a check, write a file with a function `check` that takes a `CheckInput` and yields findings, and put it into a
list below. `saturation.py` is a short example. Describe the code of its findings in docs/quality.md.
"""

from collections.abc import Callable, Iterator

from data_prep.quality import (
    baseline_wander,
    electrode_off,
    electrodes,
    flat_part,
    joined,
    lead_size,
    lead_twice,
    limb_identities,
    no_beats,
    noise,
    noise_leads,
    pacing,
    powerline,
    repeated,
    saturation,
    unit,
    unrelated_leads,
    wrapped,
    wrong_rate,
)
from data_prep.quality.check_input import CheckInput
from data_prep.quality.finding import Finding, QualityError, Severity, has_failure, refuse_failures

__all__ = ["CheckInput", "Finding", "QualityError", "Severity", "check_signal", "has_failure", "refuse_failures"]

Check = Callable[[CheckInput], Iterator[Finding]]

SIZES: tuple[Check, ...] = (unit.check, electrode_off.check)
"""Checks of the leads' sizes. If the size is not that of an ECG, no other check is made."""
USUAL_SIZES: tuple[Check, ...] = (lead_size.check, noise_leads.check)
"""Checks that are skipped where a size is unusual, because they would report the same fault again."""
CHECKS: tuple[Check, ...] = (
    wrapped.check,
    limb_identities.check,
    flat_part.check,
    no_beats.check,
    repeated.check,
    saturation.check,
    noise.check,
    powerline.check,
    baseline_wander.check,
    pacing.check,
)
"""Checks of single leads in mV, and of the limb leads' algebra."""
RELATIONS: tuple[Check, ...] = (
    wrong_rate.check,
    electrodes.check,
    lead_twice.check,
    unrelated_leads.check,
    joined.check,
)
"""Checks of how the leads agree. They follow where no other check forbids a decision."""


def check_signal(subject: CheckInput) -> Iterator[Finding]:
    """Yield all findings on a record's leads.

    The checks of length, names, gaps and flat leads, which Preprocess makes, come before.
    """
    findings: list[Finding] = []
    if not subject.leads:  # all are dead, which `check_flat_leads` reports
        return
    for check in SIZES:
        findings += check(subject)
        if has_failure(findings):
            yield from findings
            return
    for check in CHECKS if findings else (*USUAL_SIZES, *CHECKS):
        findings += check(subject)
    yield from findings
    if all(finding.severity is Severity.NOTE for finding in findings):
        for check in RELATIONS:
            yield from check(subject)

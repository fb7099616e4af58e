"""Suspected exchange of the arm electrodes, which negates lead I and exchanges II with III and aVR with aVL.

The chest leads tell what limb leads to expect: Kors and van Herpen (Am J Cardiol 2001, 88:396) detect exchanges by how
well the leads agree with those reconstructed from the others. Here the eight independent leads are compared with their
covariance C over many ECGs, as recorded and with the exchange undone. The value is log(tr(C⁻¹S) / tr(C⁻¹TST')) for the
leads' covariance S and the exchange T. Above 0 the leads agree better with ECGs once the arms are exchanged back.

====================================  ================  ============
records of PTB-XL                     folds 1 to 8      fold 9
====================================  ================  ============
as recorded: suspected                7 of 3,356        2 of 479
with exchanged arms: suspected        99.8 %            99.6 %
====================================  ================  ============

A correlation of I with V6 below a bound with as many false alarms finds 89 %. Some of the false alarms may be exchanges
that nobody noticed. Dextrocardia looks the same.
`electrodes.py` makes this check and those of other exchanges, and reports the likeliest.
"""

import numpy as np

from data_prep.leads import BASIS_LEADS
from data_prep.quality.flat_leads import COVARIANCE

BOUND = 0.0
"""Value above which an exchange is suspected: from there on it is the likelier explanation."""
SENTENCE = "the arm electrodes are probably exchanged (lead I looks inverted relative to the chest leads)."
EXCHANGE = np.eye(len(BASIS_LEADS))
EXCHANGE[0, 0] = EXCHANGE[1, 0] = -1.0
"""Matrix from the independent leads to those with exchanged arms: I becomes -I, II becomes III = II - I."""
PRECISION = np.linalg.inv(COVARIANCE)

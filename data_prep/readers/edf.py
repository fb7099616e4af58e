"""EDF, EDF+ and BDF (www.edfplus.info), read by pyEDFlib. Signals that are not leads are left out."""

from pathlib import Path

import numpy as np

from data_prep.readers.columns import find_columns, find_leads, to_millivolts, to_record
from data_prep.readers.files import regular_size, require_sane_size
from data_prep.readers.options import ReadOptions
from data_prep.record import Record, RecordError

NAME = "EDF, BDF"
SUFFIXES: tuple[str, ...] = (".edf", ".bdf")

HEADER_BYTES, RECORDS, SIGNALS = slice(184, 192), slice(236, 244), slice(252, 256)
"""Places in the header of its size, of the number of data records, and of the number of signals."""


def recognizes(head: bytes) -> bool:
    """Return whether a file that begins like this is EDF or BDF: a version, and numbers where the header has sizes."""
    sizes = head[184:192].strip(), head[252:256].strip()
    return head[:8] in (b"0       ", b"\xffBIOSEMI") and all(size.isdigit() for size in sizes)


def require_whole(path: Path, size: int) -> None:
    """Raise RecordError if a file ends before its header promises. pyEDFlib would print that to the terminal, too."""
    with path.open("rb") as file:
        head = file.read(256)
        try:
            n_bytes, n_records, n_signals = (int(head[at]) for at in (HEADER_BYTES, RECORDS, SIGNALS))
            file.seek(256 + 216 * n_signals)
            n_samples = sum(int(file.read(8)) for _ in range(n_signals))
        except ValueError:
            return  # pyEDFlib says what is wrong
    promised = n_bytes + n_records * n_samples * (3 if head.startswith(b"\xff") else 2)
    if n_records > 0 and size < promised:
        problem = f"the file has {size} bytes, its header promises {promised}; it is cut off"
        raise RecordError(f"{path.name} is not a valid EDF or BDF file: {problem}.")


def read(path: Path, options: ReadOptions) -> Record:
    """Return the leads of a file, in millivolts.

    Raises:
        RecordError: the file is damaged, cut short or discontinuous (EDF+D), no signal is a lead, the unit of a lead is
            unknown, or leads have different sampling rates.
    """
    import pyedflib  # a tenth of a second, which only its files need to take

    name = path.name
    require_whole(path, regular_size(path))
    try:
        opened = pyedflib.EdfReader(str(path), pyedflib.DO_NOT_READ_ANNOTATIONS, pyedflib.CHECK_FILE_SIZE)
    except OSError as error:  # its sentences are fixed, and quote nothing of the file
        raise RecordError(f"{name} is not a valid EDF or BDF file: {str(error).removeprefix(f'{path}: ')}") from error
    with opened as file:
        labels, units = file.getSignalLabels(), [file.getPhysicalDimension(i) for i in range(file.signals_in_file)]
        index = find_leads(name, labels, options)
        columns, remarks = find_columns(name, [labels[i] for i in index], [units[i] or None for i in index], options)
        rates = {float(file.getSampleFrequency(i)) for i in index}
        if len(rates) > 1:
            listed = ", ".join(f"{rate:g}" for rate in sorted(rates))
            raise RecordError(f"{name}: its leads should have one sampling rate; found {listed} Hz.")
        fs, n_samples = rates.pop(), int(file.getNSamples()[index[0]])
        require_sane_size(name, n_samples, len(index))
        n_read = options.samples_to_read(n_samples, fs)
        values = np.column_stack([file.readSignal(i, 0, n_read) for i in index])
    return to_record(path.stem, to_millivolts(values, columns), fs, columns, remarks, n_samples)

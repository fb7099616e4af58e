"""ECG files of every format that name a patient in each field that the format has for it, and in some that it has not.

Each is sound but for the name, so that all of it is read, predicted from and trained on.
"""

import binascii
import copy
import csv
import io
import json
import re
import struct
import zipfile

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pydicom
import pyedflib
from pydicom.sequence import Sequence

from data_prep.leads import STANDARD_LEADS
from tests import dicom_files
from tests import vendor_files as vendor
from tests.wfdb_files import edit, write_wfdb

FAMILY, GIVEN, NUMBER = "Quirrelbach", "Zyxomma", "M7741930628"
"""A name and a medical record number that no program writes of itself."""
NAME = f"{GIVEN} {FAMILY}"
PERSON = f"{NAME}, {NUMBER}"
FS = 500
SMALL = dict(zip(STANDARD_LEADS, range(12), strict=True))


def in_xml(text):
    """Name the patient in a comment, an instruction, attributes and texts below the root of a document."""
    planted = (
        f"<!-- {PERSON} --><?patient {PERSON}?>"
        f'<PatientDemographics id="{NUMBER}" name="{NAME}"><PatientID>{NUMBER}</PatientID><PatientLastName>{FAMILY}'
        f"</PatientLastName><PatientFirstName>{GIVEN}</PatientFirstName></PatientDemographics>"
        f"<componentOf><subject><id extension='{NUMBER}'/><name><given>{GIVEN}</given><family>{FAMILY}</family></name>"
        f"</subject></componentOf><patdata><lastname>{FAMILY}</lastname><id>{NUMBER}</id></patdata>"
        f'<SUBJECT LAST_NAME="{FAMILY}" FIRST_NAME="{GIVEN}" ID="{NUMBER}"/><Diagnosis><![CDATA[{PERSON}]]></Diagnosis>'
    )
    return re.sub(r"(<[A-Za-z][^>]*>)", lambda root: root[1] + planted, text, count=1).encode()


def muse(signal):
    """A document whose waveform has one more lead, named after the patient."""
    waveform = vendor.muse_waveform(signal)
    more = vendor.muse_lead(NAME, signal[:, 0].astype(float))
    return in_xml(vendor.muse(waveform.replace("</Waveform>", f"{more}</Waveform>"), encoding="utf-8", name=FAMILY))


def wfdb(folder, name, signal):
    header = write_wfdb(
        folder, np.column_stack([signal, signal[:, :1]]), fs=str(FS), name=name, leads=(*STANDARD_LEADS, NAME)
    )
    edit(header, "# age: 60", f"# name: {NAME}\n# <MRN>: {NUMBER}")
    (folder / f"{name}.atr").write_bytes(b"\x17\xfc" + PERSON.encode())


def dicom(folder, name, signal):
    extra = dicom_files.channel("other", meaning=NAME)
    extra.ChannelLabel = FAMILY
    samples = np.round(np.column_stack([signal, signal[:, :1]]) * 400)
    path = dicom_files.write_dicom(
        folder / f"{name}.dcm", dicom_files.group(samples, [*dicom_files.channels(), extra], fs=FS)
    )
    file = pydicom.dcmread(path)
    file.PatientName, file.PatientID = f"{FAMILY}^{GIVEN}", NUMBER
    file.ReferringPhysicianName = file.OperatorsName = f"{FAMILY}^{GIVEN}"
    file.OtherPatientNames, file.PatientComments, file.StudyDescription = NAME, PERSON, PERSON
    file.AccessionNumber, file.InstitutionName = NUMBER, FAMILY
    file.WaveformSequence[0].MultiplexGroupLabel = FAMILY
    file.WaveformAnnotationSequence = Sequence([dicom_files.sequence_item(UnformattedTextValue=PERSON)])
    file.private_block(0x0099, FAMILY, create=True).add_new(1, "LO", PERSON)
    file.preamble = PERSON.encode().ljust(128)
    file.save_as(path)


def edf(folder, name, signal, suffix):
    kind = pyedflib.FILETYPE_EDFPLUS if suffix == ".edf" else pyedflib.FILETYPE_BDFPLUS
    labels = (*STANDARD_LEADS, FAMILY)
    with pyedflib.EdfWriter(str(folder / f"{name}{suffix}"), len(labels), kind) as file:
        file.setPatientName(NAME.replace(" ", "_"))
        file.setPatientCode(NUMBER)
        file.setPatientAdditional(FAMILY)
        file.setTechnician(FAMILY)
        file.setRecordingAdditional(NUMBER)
        ends = {"physical_min": -8.0, "physical_max": 8.0, "digital_min": -32768, "digital_max": 32767}
        for index, label in enumerate(labels):
            texts = {"label": label, "dimension": "mV", "transducer": PERSON, "prefilter": PERSON}
            file.setSignalHeader(index, texts | ends | {"sample_frequency": FS})
        file.writeSamples([np.ascontiguousarray(column, np.float64) for column in (*signal.T, signal[:, 0])])
        file.writeAnnotation(1.0, -1, PERSON)


def scp(signal):
    """A record with the patient's data in section 1 and a report that names the patient in section 8."""
    rows = np.stack([vendor.stored(values, 2.5) for values in vendor.columns(signal).values()])
    texts = {0: FAMILY, 1: GIVEN, 2: NUMBER, 3: NAME, 30: PERSON, 31: NUMBER}
    person = b"".join(struct.pack("<BH", tag, len(text) + 1) + text.encode() + b"\0" for tag, text in texts.items())
    report = struct.pack("<B7sB", 1, b"\0" * 7, 1) + struct.pack("<BH", 1, len(PERSON) + 1) + PERSON.encode() + b"\0"
    return vendor.scp(
        {
            1: person + struct.pack("<BH", 255, 0),
            3: vendor.scp_leads(len(signal), STANDARD_LEADS),
            6: vendor.scp_wave(rows, 2.5, FS),
            8: report,
        }
    )


def ishne(signal):
    """A recording whose header holds name and number; its checksum fits."""
    content = bytearray(vendor.ishne(signal, remarks=PERSON.encode()))
    for place, text in ((28, GIVEN), (68, FAMILY), (108, NUMBER)):
        content[place : place + len(text)] = text.encode()
    struct.pack_into("<H", content, 8, binascii.crc_hqx(bytes(content[10 : 522 + len(PERSON)]), 0xFFFF))
    return bytes(content)


def mfer(signal):
    texts = {0x81: NAME, 0x82: NUMBER, 0x16: PERSON, 0x17: NAME}
    planted = b"".join(vendor.mfer_item(tag, text.encode()) for tag, text in texts.items())
    return vendor.mfer(signal).replace(vendor.mfer_item(0x81, b"Doe"), planted)


def edan(folder, name, signal):
    content, samples = vendor.edan(signal)
    header = bytearray(content)
    for place in (40, 2000):
        header[place : place + len(PERSON)] = PERSON.encode()
    (folder / name).mkdir()
    (folder / name / "ecgraw.dat").write_bytes(samples)
    (folder / name / "patient.hea").write_bytes(header)


def kardia(signal):
    tree = json.loads(vendor.kardia(signal, STANDARD_LEADS[:6]))
    tree |= {"patientID": NUMBER, "name": NAME, "note": PERSON}
    samples = tree["data"]["raw"]["samples"]
    tree["data"]["raw"]["samples"] = samples | {NAME: samples["leadI"]}
    return json.dumps(tree).encode()


def contec(signal):
    """A file with the given name in its eight bytes for a name, and the number behind the samples."""
    content = vendor.contec(signal).replace(b"Doe".ljust(8, b"\0"), GIVEN.encode().ljust(8, b"\0"))
    return content[: -len(NUMBER)] + NUMBER.encode()


def atc(signal):
    content = vendor.atc(signal, STANDARD_LEADS[:6])
    start = content.index(b"info")
    block = content[start : start + 8] + PERSON.encode().ljust(264, b"\0")
    return content[:start] + block + struct.pack("<I", sum(block)) + content[start + len(block) + 4 :]


def fhir(signal):
    """A bundle whose observation, components and codes name the patient."""
    tree = json.loads(vendor.fhir(signal))
    observation = tree["entry"][0]["resource"]
    observation |= {
        "subject": {"reference": f"Patient/{NUMBER}", "display": NAME},
        "performer": [{"display": FAMILY}],
        "note": [{"text": PERSON}],
        FAMILY: PERSON,
    }
    more = copy.deepcopy(observation["component"][1])
    more["code"] = {"coding": [{"code": NUMBER, "display": NAME}], "text": PERSON}
    observation["component"].append(more)
    return json.dumps(tree).encode()


def json_leads(signal):
    """An object with one more list, named after the patient, and facts about the patient around it."""
    tree = json.loads(vendor.json_leads(signal))
    leads = tree["signal"]["leads"]
    leads[NAME] = leads["I"]
    return json.dumps(tree | {"patient": {"name": NAME, "id": NUMBER}, "note": PERSON, FAMILY: [PERSON]}).encode()


def apple(signal):
    return vendor.apple(signal).replace("Jane Doe", f'"{PERSON}"').encode()


def comma_separated(signal):
    buffer = io.StringIO()
    buffer.write(f"# patient: {PERSON}\n# fs={FS} unit=mV\n")
    writer = csv.writer(buffer)
    writer.writerow([*STANDARD_LEADS, NAME, f"{FAMILY} [mV]"])
    writer.writerows(np.column_stack([signal, signal[:, :2]]).round(4).tolist())
    return buffer.getvalue().encode()


def npz(signal):
    buffer = io.BytesIO()
    leads = (*STANDARD_LEADS, NAME)
    arrays = {"signal": np.column_stack([signal, signal[:, :1]]), "fs": FS, "leads": leads, "unit": "mV"}
    np.savez_compressed(buffer, **arrays, name=NAME, mrn=np.array([NUMBER]))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = PERSON.encode()
        archive.writestr("note.txt", PERSON)
    return buffer.getvalue()


def mat(signal):
    """A struct of more channels than leads, and fields, variables and a description that name the patient."""
    planted = {"name": NAME, "id": NUMBER, FAMILY: PERSON, "leads": np.array([*STANDARD_LEADS, NAME], object)}
    content = vendor.matlab(np.column_stack([signal, signal[:, :1]]), **planted)
    more = vendor.matlab(signal[:50], **planted).replace(b"ECG", b"Dr_")[128:]
    return PERSON.encode().rjust(60).join([b"MATLAB 5.0 MAT-file, ", content[81:]]) + more


def hdf5(signal):
    """A block of the user's before the file, and names of leads, attributes, groups and texts that name the patient."""
    content = vendor.hdf5(np.column_stack([signal, signal[:, 0]]), leads=(*STANDARD_LEADS, NAME))
    with h5py.File(buffer := io.BytesIO(), "w", userblock_size=512) as file:
        with h5py.File(io.BytesIO(content), "r") as source:
            source.copy("tracings", file, name=FAMILY)
        file[FAMILY].attrs["patient"] = np.bytes_(PERSON)
        file.attrs[NAME] = NUMBER
        file["exam_id"], file[f"{NAME}/{NUMBER}"] = [np.bytes_(NUMBER)], [PERSON]
    return PERSON.encode().ljust(512) + buffer.getvalue()[512:]


def parquet(signal):
    columns = {lead: signal[:, index] for lead, index in SMALL.items()}
    table = pa.table(columns | {NAME: signal[:, 0], f"{FAMILY} [mV]": signal[:, 0], "note": [PERSON] * len(signal)})
    facts = {"fs": str(FS), "unit": "mV", "patient": PERSON, NUMBER: NAME}
    pq.write_table(table.replace_schema_metadata(facts), buffer := io.BytesIO())
    return buffer.getvalue()


SINGLE = {
    "-scp.scp": scp,
    "-muse.xml": muse,
    "-aecg.xml": lambda signal: in_xml(vendor.aecg(vendor.aecg_series(signal))),
    "-cardiosoft.xml": lambda signal: in_xml(vendor.cardiosoft(signal).replace("ISO-8859-1", "utf-8")),
    "-sapphire.xml": lambda signal: in_xml(vendor.sapphire(signal)),
    "-philips.xml": lambda signal: in_xml(vendor.philips(signal, encoding="utf-8")),
    "-schiller.xml": lambda signal: in_xml(vendor.schiller(signal)),
    "-mortara.xml": lambda signal: in_xml(vendor.mortara(signal)),
    "-ecg.ecg": ishne,
    "-mwf.mwf": mfer,
    "-contec.ecg": contec,
    "-kardia.json": kardia,
    "-atc.atc": atc,
    "-fhir.json": fhir,
    "-leads.json": json_leads,
    "-apple.csv": apple,
    "-npz.npz": npz,
    "-mat.mat": mat,
    "-hdf5.h5": hdf5,
    "-parquet.parquet": parquet,
    "-csv.csv": comma_separated,
}
"""Ending of the file's name, and a function of the signal of twelve leads in mV that returns the content."""
SEVERAL = {
    "-wfdb.hea": lambda folder, name, signal: wfdb(folder, f"{name}-wfdb", signal),
    "-dicom.dcm": lambda folder, name, signal: dicom(folder, f"{name}-dicom", signal),
    "-edf.edf": lambda folder, name, signal: edf(folder, f"{name}-edf", signal, ".edf"),
    "-bdf.bdf": lambda folder, name, signal: edf(folder, f"{name}-bdf", signal, ".bdf"),
    "/patient.hea": edan,
}
"""Likewise, and a function that writes the files."""


EVERY = (*SINGLE, *SEVERAL)
FEW = ("-scp.scp", "-muse.xml", "-npz.npz", "-csv.csv")
"""Formats enough for a split in which each label is there and is not, see `write_labels`."""


def write_formats(folder, name, signal, endings=EVERY):
    """Write a signal in formats, by default in every one, and return the names of the records' files."""
    for ending in endings:
        if ending in SINGLE:
            (folder / f"{name}{ending}").write_bytes(SINGLE[ending](signal))
        else:
            SEVERAL[ending](folder, name, signal)
    return [f"{name}{ending}" for ending in endings]


def write_damaged(source, target, name):
    """Cut the files of one signal, and in a copy of each text put the patient's name in the place of a lead's."""
    for path in [path for path in source.rglob("*") if path.is_file() and name in str(path.relative_to(source))]:
        content, beside = path.read_bytes(), target / path.relative_to(source)
        beside.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(content[: len(content) * 2 // 3])
        if path.suffix in (".xml", ".hea", ".csv", ".json"):
            renamed = re.sub(rb'(?<=[>" ,_])V1(?=[<",\r\n])|leadI(?=")', NAME.encode(), content)
            beside.with_name(f"renamed-{path.name}").write_bytes(renamed)


def write_labels(folder, names, split):
    """Write a labels.csv whose patients are known by their numbers, with columns for their names and notes."""
    table = pd.DataFrame(
        {"record": names, "patient_id": [f"{NUMBER}-{row}" for row in range(len(names))], "split": split}
    )
    table = table.assign(
        name=NAME,
        note=PERSON,
        AF=[row % 2 for row in range(len(names))],
        MI=[row // 2 % 2 for row in range(len(names))],
    )
    table.to_csv(folder / "labels.csv", index=False)

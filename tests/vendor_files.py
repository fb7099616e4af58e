"""ECG files of vendors, written from their specifications and independently of the readers; voltages in mV."""

import base64
import binascii
import io
import json
import struct
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.io import savemat

from data_prep.leads import BASIS_LEADS, STANDARD_LEADS


def columns(signal, leads=STANDARD_LEADS):
    """The columns of some leads, by name, of twelve in mV, (time, lead)."""
    return {lead: signal[:, STANDARD_LEADS.index(lead)].astype(np.float64) for lead in leads}


def stored(values, step):
    """Millivolts as 16-bit steps of so many microvolts."""
    return np.round(values * 1000 / step).astype("<i2")


def write_text(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


# GE MUSE


def muse_lead(lead, values, step=4.88, unit="MICROVOLTS", **changes):
    content = stored(values, step).tobytes()
    facts = {
        "LeadByteCountTotal": len(content),
        "LeadSampleCountTotal": len(content) // 2,
        "LeadAmplitudeUnitsPerBit": step if unit == "MICROVOLTS" else step / 1000,
        "LeadAmplitudeUnits": unit,
        "LeadID": lead,
        "LeadSampleSize": 2,
        "LeadDataCRC32": zlib.crc32(content),
        "WaveFormData": base64.encodebytes(content).decode(),
    } | changes
    return "<LeadData>" + "".join(f"<{k}>{v}</{k}>" for k, v in facts.items() if v is not None) + "</LeadData>"


def muse_waveform(signal, kind="Rhythm", base=500, exponent=0, leads=BASIS_LEADS, **changes):
    rows = "".join(muse_lead(lead, values, **changes) for lead, values in columns(signal, leads).items())
    return (
        f"<Waveform><WaveformType>{kind}</WaveformType><NumberofLeads>{len(leads)}</NumberofLeads>"
        f"<SampleBase>{base}</SampleBase><SampleExponent>{exponent}</SampleExponent>{rows}</Waveform>"
    )


def muse(*waveforms, encoding="ISO-8859-1", name="Doe"):
    return (
        f'<?xml version="1.0" encoding="{encoding}"?>\n<!DOCTYPE RestingECG SYSTEM "restecg.dtd">\n<RestingECG>'
        f"<PatientDemographics><PatientLastName>{name}</PatientLastName></PatientDemographics>"
        f"{''.join(waveforms)}</RestingECG>"
    )


# HL7 aECG


def aecg_series(signal, kind="RHYTHM", step=2.5, unit="uV", increment=("0.002", "s"), leads=STANDARD_LEADS, zero=0):
    head = f'<head value="20240101"/><increment value="{increment[0]}" unit="{increment[1]}"/>'
    time = f'<component><sequence><code code="TIME_ABSOLUTE"/><value xsi:type="GLIST_TS">{head}</value></sequence>'
    rows = "".join(
        f'<component><sequence><code code="MDC_ECG_LEAD_{lead.upper()}"/><value xsi:type="SLIST_PQ">'
        f'<origin value="{zero}" unit="{unit}"/><scale value="{step}" unit="{unit}"/>'
        f"<digits>{' '.join(map(str, stored(values, step * (1000 if unit == 'mV' else 1))))}</digits>"
        "</value></sequence></component>"
        for lead, values in columns(signal, leads).items()
    )
    return (
        f'<series><code code="{kind}"/><component><sequenceSet>{time}</component>{rows}</sequenceSet></component>%s'
        "</series>"
    )


def aecg(*series, derived=""):
    """Series, of which the last may have a derived one."""
    body = "".join(f"<component>{each % ''}</component>" for each in series[:-1])
    derivation = f"<derivation><derivedSeries>{derived}</derivedSeries></derivation>" if derived else ""
    return (
        '<!-- by a recorder -->\n<AnnotatedECG xmlns="urn:hl7-org:v3" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><id root="x"/>'
        f"{body}<component>{series[-1] % derivation}</component></AnnotatedECG>"
    )


# Philips


def lzw(content, bits=10):
    """Pack bytes by LZW with codes of a fixed size, ended by the last code of all."""
    table, codes, current = {bytes([i]): i for i in range(256)}, [], b""
    for value in content:
        longer = current + bytes([value])
        if longer in table:
            current = longer
            continue
        codes.append(table[current])
        if len(table) < 2**bits - 1:
            table[longer] = len(table)
        current = bytes([value])
    codes += [table[current], 2**bits - 1]
    text = "".join(f"{code:0{bits}b}" for code in codes)
    text += "0" * (-len(text) % 8)
    return bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))


def xli(values):
    """Compress a lead: two samples, then the differences of second order, each one place late and plus 64."""
    x = [int(value) for value in values]
    second = [2 * x[i - 1] - x[i - 2] - x[i] for i in range(2, len(x))]
    words = [*x[:2], *[each + 64 for each in second[1:]], 64]
    raw = np.array(words, np.int16).view(np.uint16)
    packed = lzw((raw >> 8).astype(np.uint8).tobytes() + (raw & 255).astype(np.uint8).tobytes())
    return struct.pack("<ihh", len(packed), 1, second[0]) + packed


def philips(signal, version="1.04", step=5, fs=500, compressed=True, encoding="utf-16", labels=True, plain=False):
    rows = np.stack([stored(values, step) for values in columns(signal).values()]).astype(np.int64)
    if compressed:
        i, ii, iii, avr, avl, avf = rows[:6]
        rest = [ii - i - iii, -avr - (i + ii) // 2, (i - iii) // 2 - avl, (ii + iii) // 2 - avf]
        data = base64.encodebytes(b"".join(map(xli, [i, ii, *rest, *rows[6:]]))).decode()
    elif plain:
        data = " ".join(map(str, rows.ravel()))
    else:
        data = base64.encodebytes(rows.astype("<i2").tobytes()).decode()
    method = ('compression="XLI"' if labels else 'compressflag="True" compressmethod="XLI"') if compressed else ""
    facts = f'leadlabels="{" ".join(STANDARD_LEADS)}" samplespersecond="{fs}" resolution="{step}"' if labels else ""
    name = "resolution" if labels else "signalresolution"
    return (
        f'<?xml version="1.0" encoding="{encoding}"?><restingecgdata xmlns="http://www3.medical.philips.com">'
        f"<documentinfo><documenttype>PhilipsECG</documenttype><documentversion>{version}</documentversion></documentinfo><dataacquisition>"
        f"<signalcharacteristics><samplingrate>{fs}</samplingrate><{name}>{step}</{name}><leadset>STD-12</leadset>"
        "<numberchannelsvalid>12</numberchannelsvalid></signalcharacteristics></dataacquisition><waveforms>"
        f'<parsedwaveforms dataencoding="{"Plain" if plain else "Base64"}" {method} {facts} '
        f'durationperchannel="{len(signal) * 1000 // fs}">{data}</parsedwaveforms></waveforms></restingecgdata>'
    )


# SCP-ECG

SCP_CODES = dict(zip((*BASIS_LEADS, "III", "aVR", "aVL", "aVF"), (*range(1, 9), 61, 62, 63, 64), strict=True))


def scp_section(number, content, version=20):
    content += b"\0" * (len(content) % 2)
    rest = struct.pack("<HIBB6s", number, 16 + len(content), version, version, b"SCPECG" if number == 0 else b"")
    return struct.pack("<H", binascii.crc_hqx(rest + content, 0xFFFF)) + rest + content


def scp(sections, version=20):
    """A record of sections {number: content}."""
    size = 16 + 10 * 12
    start, pointers, body = 7 + size, struct.pack("<HII", 0, size, 7), b""
    for number in range(1, 12):
        section = scp_section(number, sections[number], version) if number in sections else b""
        pointers += struct.pack("<HII", number, len(section), start if section else 0)
        start, body = start + len(section), body + section
    content = scp_section(0, pointers, version) + body
    record = struct.pack("<I", 6 + len(content)) + content
    return struct.pack("<H", binascii.crc_hqx(record, 0xFFFF)) + record


def scp_leads(n_samples, leads, flags=0b1100100):
    return bytes([len(leads), flags]) + b"".join(struct.pack("<IIB", 1, n_samples, SCP_CODES[lead]) for lead in leads)


def scp_wave(rows, step, fs, order=0, pack=lambda row: row.astype("<i2").tobytes()):
    """Section 5 or 6 of rows in steps of so many microvolts."""
    packed = [pack(differences(row.astype(np.int64), order)) for row in rows]
    head = struct.pack("<HHBB", round(step * 1000), round(1e6 / fs), order, 0)
    return head + struct.pack(f"<{len(rows)}H", *map(len, packed)) + b"".join(packed)


def differences(row, order):
    """First or second differences of a row, after as many of its samples."""
    return row if not order else np.concatenate((row[:order], np.diff(row, order)))


def huffman(codes):
    """A function that packs a row by codes {value: bits}; others by the prefix under None and 16 bits."""

    def pack(row):
        bits = "".join(codes.get(int(v)) or codes[None] + f"{int(v) & 0xFFFF:016b}" for v in row)
        bits += "0" * (-len(bits) % 16)
        return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))

    return pack


DEFAULT_CODES = {0: "0", None: "1" * 10} | {
    sign * size: "1" * size + ("00" if sign > 0 else "01") for size in range(1, 9) for sign in (1, -1)
}


def huffman_tables(*tables):
    """Section 2 of tables of (bits of the prefix, extra bits, is a value, value)."""
    content = struct.pack("<H", len(tables))
    for table in tables:
        content += struct.pack("<H", len(table))
        for prefix, extra, is_value, value in table:
            content += struct.pack("<BBBhI", len(prefix), len(prefix) + extra, is_value, value, int(prefix[::-1], 2))
    return content


def scp_file(signal, step=2.5, fs=500, packed=False):
    """A record of twelve leads, packed by the default table as differences of second order, or as it is."""
    rows = np.stack([stored(values, step) for values in columns(signal).values()])
    pack = {"order": 2, "pack": huffman(DEFAULT_CODES)} if packed else {}
    sections = {3: scp_leads(len(signal), STANDARD_LEADS), 6: scp_wave(rows, step, fs, **pack)}
    return scp(sections | ({2: struct.pack("<H", 19999)} if packed else {}))


FILES = {
    "muse.xml": lambda signal: muse(muse_waveform(signal)).encode(),
    "aecg.xml": lambda signal: aecg(aecg_series(signal)).encode(),
    "philips.xml": lambda signal: philips(signal, encoding="utf-8").encode(),
    "plain.scp": scp_file,
    "packed.scp": lambda signal: scp_file(signal, packed=True),
}
"""A writer of each format, for a signal of twelve leads in mV at 500 Hz, (time, lead)."""


# GE CardioSoft and Sapphire


def cardiosoft(signal, step=5, unit="uVperLsb", fs=500, leads=STANDARD_LEADS, median=True, pack=False):
    def waves(values):
        rows = {lead: stored(each, step) for lead, each in columns(values, leads).items()}
        texts = {
            lead: base64.b64encode(row.tobytes()).decode() if pack else ",\n\t".join(map(str, row))
            for lead, row in rows.items()
        }
        return "".join(f'<WaveformData lead="{lead}">{text}</WaveformData>' for lead, text in texts.items())

    facts = f'<SampleRate units="Hz">{fs}</SampleRate><Resolution units="{unit}">{step}</Resolution>'
    beat = f"<MedianSamples>{facts}{waves(signal[:300])}</MedianSamples>" if median else ""
    return (
        '<?xml version="1.0" encoding="ISO-8859-1"?><CardiologyXML><PatientInfo><Name>Müller</Name></PatientInfo>'
        f"<RestingECGMeasurements>{beat}</RestingECGMeasurements><StripData>{facts}{waves(signal)}</StripData>"
        "</CardiologyXML>"
    )


def sapphire(signal, step=4.88, leads=BASIS_LEADS):
    def waves(values):
        return "".join(
            f'<ecgWaveform lead="{lead}" asizeVT="{len(each)}" S="{step}" U="uV" '
            f'V="{" ".join(map(str, stored(each, step)))}"/>'
            for lead, each in columns(values, leads).items()
        )

    rate = '<sampleRate V="500" U="Hz"/>'
    return (
        '<sapphire xmlns="urn:ge:sapphire:dcar_1"><dcarRecord><ecg><var><medianTemplate><ecgWaveformMXG>'
        f"{rate}{waves(signal[:300])}</ecgWaveformMXG></medianTemplate></var><wav><ecgWaveformMXG>{rate}{waves(signal)}"
        "</ecgWaveformMXG></wav></ecg></dcarRecord></sapphire>"
    )


# Schiller


def schiller(signal, step=5, unit="uV", exponent=1, kind="ECG_RHYTHMS"):
    rows = "".join(
        f"<channel><name>{lead}</name><datastype>COMMASEPARATE</datastype>"
        f"<data>{','.join(map(str, stored(values, step * (1000 if unit == 'mV' else 1))))}</data></channel>"
        for lead, values in columns(signal).items()
    )
    facts = (
        f"<resolution><samplerate><value>500</value><exponent>{exponent}</exponent></samplerate>"
        f"<yres><unitperbit>{step}</unitperbit><units>{unit}</units></yres></resolution>"
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?><com.xiriuz.sema.xml.schillerEDI.SchillerEDI><patdata/><eventdata>'
        f"<event><wavedata><type>ECG_AVERAGES</type>{facts}</wavedata><wavedata><type>{kind}</type>{facts}{rows}"
        "</wavedata></event></eventdata></com.xiriuz.sema.xml.schillerEDI.SchillerEDI>"
    )


# Mortara


def mortara(signal, per_millivolt=400, **changes):
    rows = "".join(
        "<CHANNEL "
        + " ".join(
            f'{key}="{value}"'
            for key, value in (
                {"OFFSET": 0, "BITS": 16, "FORMAT": "SIGNED", "UNITS_PER_MV": per_millivolt, "DURATION": len(values)}
                | {"SAMPLE_FREQ": 500, "ENCODING": "BASE64", "NAME": lead}
                | {"DATA": base64.b64encode(stored(values, 1000 / per_millivolt).tobytes()).decode()}
                | changes
            ).items()
            if value is not None
        )
        + "/>"
        for lead, values in columns(signal).items()
    )
    return f'<?xml version="1.0"?><ECG ACQUISITION_TIME="20240101" NUM_QRS="5"><SUBJECT ID="x"/>{rows}</ECG>'


# ISHNE


def ishne(signal, step=2.5, fs=500, remarks=b"remarks"):
    codes = {lead: code for code, lead in enumerate(STANDARD_LEADS, 5)}
    header = bytearray(512)
    struct.pack_into("<iiii", header, 0, len(remarks), len(signal), 522, 522 + len(remarks))
    struct.pack_into("<h", header, 146, 12)
    struct.pack_into("<12h", header, 148, *codes.values())
    struct.pack_into("<12h", header, 196, *[round(step * 1000)] * 12)
    struct.pack_into("<h", header, 262, fs)
    rest = bytes(header) + remarks
    rows = np.column_stack([stored(values, step) for values in columns(signal).values()])
    return b"ISHNE1.0" + struct.pack("<H", binascii.crc_hqx(rest, 0xFFFF)) + rest + rows.tobytes()


# MFER


def mfer_item(tag, value):
    size = bytes([len(value)]) if len(value) < 128 else b"\x84" + struct.pack(">I", len(value))
    return bytes([tag]) + size + value


def mfer(signal, step=2.5, little=True, block=None, preamble=True, leads=STANDARD_LEADS, missing=None, interval=True):
    """Frames of one block a channel, or of several sequences of so many samples; 2 ms as an interval or 500 Hz."""
    order = "<" if little else ">"
    rows = np.stack([stored(values, step) for values in columns(signal, leads).values()])
    block = block or rows.shape[1]
    n_sequences = rows.shape[1] // block
    samples = rows.reshape(len(rows), n_sequences, block).transpose(1, 0, 2).astype(f"{order}i2")
    content = mfer_item(0x40, b"MFR Standard 12 leads ECG".ljust(32)) if preamble else b""
    content += mfer_item(0x01, bytes([little]))
    content += mfer_item(
        0x0B, (b"\x01\xfd" if interval else b"\x00\x00") + struct.pack(f"{order}h", 2 if interval else 500)
    )
    content += mfer_item(0x0C, b"\x00" + struct.pack("b", -9) + struct.pack(f"{order}h", round(step * 1000)))
    content += mfer_item(0x04, struct.pack(f"{order}I", block)) + mfer_item(0x05, struct.pack(f"{order}I", len(rows)))
    content += mfer_item(0x06, struct.pack(f"{order}I", n_sequences)) + mfer_item(0x0A, b"\x00")
    if missing is not None:
        content += mfer_item(0x12, struct.pack(f"{order}h", missing))
    for index, lead in enumerate(leads):
        definition = mfer_item(0x09, struct.pack(f"{order}H", SCP_CODES[lead]))  # MFER took SCP's codes of leads
        content += bytes([0x3F, index]) + bytes([len(definition)]) + definition
    return content + mfer_item(0x81, b"Doe") + mfer_item(0x1E, samples.tobytes()) + b"\x80\x00"


# Kardia and Apple


def edan(signal, fs=500):
    """A header and its samples, of 1 µV."""
    header = bytearray(3672)
    struct.pack_into("<II", header, 4, 1_700_000_000, 1_700_000_010)
    header[12] = 12
    struct.pack_into("<h", header, 32, fs)
    for index, lead in enumerate(STANDARD_LEADS):
        header[1796 + 8 * index : 1796 + 8 * index + len(lead)] = lead.encode()
    rows = np.column_stack([stored(values, 1) for values in columns(signal).values()])
    return bytes(header), (rows.astype(np.int32) + 16384).astype("<u2").tobytes()


def contec(signal, connected=(0, 1, 2, 3, 4, 5, 6, 7)):
    """A file of steps of 5 µV, in which leads that are not connected hold 0x6800."""
    header = (
        b"0000011".ljust(10, b"\0") + b"2024-01-01 00:00:00".ljust(22, b"\0") + b"Doe".ljust(8, b"\0") + b"\1\x36\x49"
    )
    leads = ("II", "III", "V1", "V2", "V3", "V4", "V5", "V6")
    rows = np.column_stack([stored(values, 5) for values in columns(signal, leads).values()]) + 2048
    rows[:, [index for index in range(8) if index not in connected]] = 0x6800
    return header + rows.astype("<u2").tobytes() + bytes(37)


def kardia(signal, leads=("I",), step=500, **changes):
    names = {"I": "leadI", "II": "leadII", "III": "leadIII", "aVR": "AVR", "aVL": "AVL", "aVF": "AVF"}
    samples = {names[lead]: stored(each, step / 1000).tolist() for lead, each in columns(signal, leads).items()}
    raw = {"frequency": 500, "mainsFrequency": 50, "amplitudeResolution": step, "samples": samples} | changes
    return json.dumps({"id": "x", "recordedAt": "2024-01-01T00:00:00Z", "patientID": "y", "data": {"raw": raw}})


def atc(signal, leads=("I",), step=500):
    """A file of blocks, each with its size before it and the sum of its bytes behind it; the steps are nanovolts."""

    def block(name, content):
        block = name + struct.pack("<I", len(content)) + content
        return block + struct.pack("<I", sum(block))

    rows = [stored(values, step / 1000).tobytes() for values in columns(signal, leads).values()]
    content = b"ALIVE\0\0\0" + struct.pack("<I", 4) + block(b"info", b"Doe".ljust(264, b"\0"))
    content += block(b"fmt ", struct.pack("<BHHBH", 1, 500, step, 2, 0))
    for index, row in enumerate(rows, 1):
        content += block(b"ecg " if index == 1 else b"ecg%x" % index, row)
    return content + block(b"avg ", rows[0][:900])


def fhir(signal, leads=STANDARD_LEADS, step=0.001, unit="mV", n_parts=1, interval=None, **changes):
    """An observation in a bundle, whose samples are steps of so many units from an origin of 100 steps."""
    codes = dict(zip((*BASIS_LEADS, "III", "aVR", "aVL", "aVF"), (*range(1, 9), *range(61, 65)), strict=True))
    components = [
        {
            "code": {"coding": [{"system": "urn:oid:2.16.840.1.113883.6.24", "code": str(131328 + codes[lead])}]},
            "valueSampledData": {
                "origin": {"value": -100 * step, "code": unit},
                **(interval or {"period": 2}),
                "factor": step,
                "dimensions": 1,
                "data": " ".join(map(str, np.round(part / step).astype(int) + 100)),
            }
            | changes,
        }
        for lead, values in columns(signal, leads).items()
        for part in np.array_split(values, n_parts)
    ]
    pulse = {"code": {"text": "heart rate"}, "valueQuantity": {"value": 72}}
    observation = {"resourceType": "Observation", "subject": "x", "component": [pulse, *components]}
    return json.dumps({"resourceType": "Bundle", "entry": [{"resource": observation}]})


def json_leads(signal, leads=STANDARD_LEADS, unit="mV", fs=500):
    rows = {lead: values.tolist() for lead, values in columns(signal, leads).items()}
    facts = {"patient": {"name": "Doe", "age": 60}, "test": {"sampleRate": 1000}}
    return json.dumps(facts | {"signal": {"leads": rows, "sample_rate": fs, "unit": unit}}, indent=2)


def apple(signal, german=False, rate="500"):
    values = signal[:, 0] * 1000
    if german:
        facts = f'Name,"Müller, Jan"\nAufzeichnungsdatum,2024-01-01\nAbtastrate,{rate} Hertz\n\n'
        facts += "Ableitung,Ableitung I\nEinheit,µV\n\n"
        return facts + "\n".join(f'"{value:.3f}"'.replace(".", ",") for value in values) + "\n"
    facts = 'Name,Jane Doe\nRecorded Date,2024-01-01 00:00:00 +0000\nDevice,"Watch6,2"\nSample Rate,500 hertz\n\n'
    return facts + "Lead,Lead I\nUnit,µV\n\n" + "\n".join(f"{value:.3f}" for value in values) + "\n"


def parquet(signal):
    table = pa.table({lead: values.astype(np.float32) for lead, values in columns(signal).items()})
    pq.write_table(table.replace_schema_metadata({"fs": "500", "unit": "mV"}), buffer := io.BytesIO())
    return buffer.getvalue()


def matlab(signal, compressed=False, **more):
    """A struct as of CPSC 2018, with what the files of CPSC 2018 do not state."""
    leads = np.array([*STANDARD_LEADS], object)
    facts = {"sex": "Male", "age": 60.0, "data": signal.T.astype(np.float64), "fs": 500.0, "unit": "mV", "leads": leads}
    savemat(buffer := io.BytesIO(), {"ECG": facts | more}, do_compression=compressed)
    return buffer.getvalue()


# HDF5


def hdf5(signal, leads=STANDARD_LEADS, fs=500, **packing):
    """A single ECG in an array of three axes, which states all that is known of it."""
    import h5py  # of an extra

    with h5py.File(buffer := io.BytesIO(), "w") as file:
        dataset = file.create_dataset("tracings", data=signal[np.newaxis], **packing)
        dataset.attrs.update({"fs": fs, "unit": np.bytes_("mV"), "leads": np.array(leads, "S"), "patient": "Doe"})
        file["exam_id"] = [b"Doe"]
    return buffer.getvalue()


FILES |= {
    "plain.h5": hdf5,
    "packed.h5": lambda signal: hdf5(signal, chunks=(1, *signal.shape), compression="gzip", shuffle=True),
    "a.parquet": parquet,
    "matlab.mat": matlab,
    "packed.mat": lambda signal: matlab(signal, compressed=True),
    "cardiosoft.xml": lambda signal: cardiosoft(signal).encode("latin-1"),
    "sapphire.xml": lambda signal: sapphire(signal).encode(),
    "schiller.xml": lambda signal: schiller(signal).encode(),
    "mortara.xml": lambda signal: mortara(signal).encode(),
    "a.ecg": ishne,
    "a.mwf": mfer,
    "contec.ecg": contec,
    "a.json": lambda signal: kardia(signal, STANDARD_LEADS[:6]).encode(),
    "a.atc": lambda signal: atc(signal, STANDARD_LEADS[:6]),
    "fhir.json": lambda signal: fhir(signal).encode(),
    "leads.json": lambda signal: json_leads(signal).encode(),
    "apple.csv": lambda signal: apple(signal).encode(),
}

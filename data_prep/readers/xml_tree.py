"""XML documents, read within bounds: no entities, nothing from elsewhere, names without namespaces in lower case."""

import binascii
import re
from base64 import b64decode
from collections.abc import Iterator, KeysView
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

import numpy as np
from jaxtyping import Float64

from data_prep.readers.files import read_bytes
from data_prep.record import RecordError

MAX_BYTES = 2**26
"""Largest document. An ECG of 10 s has 0.05 to 1 MB."""
MAX_ELEMENTS = 2**18
"""Largest number of elements. An ECG has hundreds, or some ten thousand with a mark for each beat of a day."""
MAX_DEPTH = 200
_BEFORE_ROOT = r"(?:\s|<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^>\[]*(?:\[.*?\]\s*)?>)*+"
_ROOT = re.compile(rf"\ufeff?{_BEFORE_ROOT}<(?:[\w.-]+:)?([\w.-]+)", re.DOTALL | re.IGNORECASE)
_ELEMENT = re.compile(r"<(?:[\w.-]+:)?([A-Za-z][\w.-]*)")
_DECLARATION = re.compile(r"\s*<\?xml[^>]*\?>")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufeff]")


def root_of(head: bytes) -> str:
    """Return the name of the root element of a document that begins like this, or nothing for anything else."""
    return next(iter(_elements(head)), "")


def has_element(head: bytes, *names: str) -> bool:
    """Return whether a document that begins like this has an element of one of these names, as its root or wrapped."""
    return not _elements(head).isdisjoint(names)


@lru_cache(maxsize=4)  # each format in XML asks for the same file
def _elements(head: bytes) -> KeysView[str]:
    """Return the names of the elements at the beginning of a document, in their order; none for anything else."""
    text = _decode(head) if b"<" in head[:256] else ""
    root = _ROOT.match(text)
    names = _ELEMENT.findall(text, root.start(1)) if root else []
    return dict.fromkeys(name.lower() for name in ([root[1], *names] if root else [])).keys()


def read_tree(path: Path) -> Element:
    """Return the root element of a document.

    Raises:
        RecordError: the file is larger than MAX_BYTES, is not well-formed XML, declares entities, or has too many or
            too deeply nested elements.
    """
    content = read_bytes(path, MAX_BYTES)
    try:
        return _parse(path.name, content)
    except (ParseError, LookupError, ValueError, UnicodeError):
        pass  # a wrong declaration of the encoding, or characters that XML forbids, in a patient's name for example
    try:
        return _parse(path.name, _DECLARATION.sub("", _CONTROL.sub(" ", _decode(content)).lstrip(), count=1))
    except (ParseError, LookupError, ValueError, UnicodeError) as error:
        raise RecordError(f"{path.name} is not well-formed XML; it is damaged or cut off.") from error


def _decode(content: bytes) -> str:
    """Return the text of a document by its byte order mark or NUL bytes, otherwise as UTF-8, otherwise as Latin-1."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    if content[:1] == b"\0" or content[1:2] == b"\0":
        return content.decode("utf-16-be" if content[:1] == b"\0" else "utf-16-le", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _parse(name: str, content: str | bytes) -> Element:
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import DefusedXMLParser

    parser = DefusedXMLParser(target=_Builder(name))
    try:
        parser.feed(content)
        root: Element = parser.close()
    except DefusedXmlException as error:
        raise RecordError(f"{name} declares entities, which are not supported.") from error
    return root


class _Builder(TreeBuilder):
    """Builder of elements, with their names in lower case and without namespaces."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.n_elements, self.depth = name, 0, 0

    def start(self, tag: str, attrs: dict[Any, Any], /) -> Element:
        self.n_elements, self.depth = self.n_elements + 1, self.depth + 1
        if self.n_elements > MAX_ELEMENTS or self.depth > MAX_DEPTH:
            raise RecordError(f"{self.name} has more elements than any ECG; it is damaged.")
        return super().start(_local(tag), {_local(key): value for key, value in attrs.items()})

    def end(self, tag: str, /) -> Element:
        self.depth -= 1
        return super().end(_local(tag))


def _local(name: str) -> str:
    return name.rpartition("}")[2].lower()


def text_of(element: Element | None, path: str = ".") -> str:
    """Return the text of the first element at `path`, without spaces around it; empty if there is none."""
    target = None if element is None else element.find(path)
    return "" if target is None else "".join(target.itertext()).strip()


def attribute(element: Element | None, path: str, name: str) -> str:
    """Return an attribute of the first element at `path`; empty if there is none."""
    target = None if element is None else element.find(path)
    return "" if target is None else target.get(name, "").strip()


def number(text: str) -> float | None:
    """Return the number that a text is, with a decimal point or comma; or None."""
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return None
    return value if isfinite(value) else None


def numbers(name: str, text: str) -> Float64[np.ndarray, " time"]:
    """Return the numbers that a text lists, separated by spaces, commas or semicolons.

    Raises:
        RecordError: something else is among them.
    """
    try:
        return np.array(text.replace(",", " ").replace(";", " ").split(), dtype=np.float64)
    except ValueError as error:
        raise RecordError(f"{name}: the samples of a lead are not all numbers; it is damaged.") from error


def base64(name: str, text: str) -> bytes:
    """Return the bytes that a text in Base64 stands for.

    Raises:
        RecordError: other characters are among them.
    """
    plain = "".join(text.split())
    try:
        return b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RecordError(f"{name}: the samples of a lead are not Base64; it is damaged.") from error


def named(root: Element, *names: str) -> Iterator[Element]:
    """Yield all elements of these names, in the order of the document."""
    return (element for element in root.iter() if element.tag in names)

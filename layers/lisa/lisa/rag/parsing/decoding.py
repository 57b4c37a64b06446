"""Bytes to text, whatever they are encoded in."""

import codecs

from lisa.rag.parsing.document import DocumentRefused

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SAMPLE_BYTES = 64 << 10
# What is in use still, beside the Latin ones, which are told apart by their letters.
_ENCODINGS = [
    "cp1251",
    "shift_jis",
    "gb18030",
    "euc_kr",
    "big5",
    "euc_jp",
    "cp1253",
    "cp1255",
    "cp1256",
    "koi8_r",
    "cp1252",
]
# Letters of the languages that each is for; the first wins where they fit alike.
_LATIN = {
    "cp1252": frozenset("äöüÄÖÜßéèêëÉÈàâáãÀÁçÇíìîïóòôõÓñÑúùûåÅøØæÆœ«»°§"),
    "cp1250": frozenset("ąćęłńóśźżĄĆĘŁŃÓŚŹŻáčďéěíňřšťúůýžÁČĎÉĚÍŇŘŠŤÚŮÝŽőűŐŰöüÖÜăâîşţ"),
    "cp1254": frozenset("ğışĞİŞçöüÇÖÜâî"),
}
_FEW_FOREIGN = 0.08
_CONTROLS = bytes(set(range(32)) - {7, 8, 9, 10, 11, 12, 13, 27})
_MAX_CONTROLS = 0.001


def decode(data: bytes, promised: str = "") -> str:
    """Raises DocumentRefused for what is no text; `promised` is what the file's name said it was."""
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            return _strict(data[len(bom) :], encoding, promised)
    sample = data[:_SAMPLE_BYTES]
    if (wide := _utf_16_without_mark(sample)) is not None:
        return _strict(data, wide, promised)
    if len(sample) - len(sample.translate(None, _CONTROLS)) > _MAX_CONTROLS * len(sample):
        raise no_text(promised)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        if error.start > len(data) - 4 and error.reason == "unexpected end of data":
            return data[: error.start].decode()
    return data.decode(_guess(data), "replace")


def no_text(promised: str) -> DocumentRefused:
    if promised:
        return DocumentRefused(
            f"By its name the file is {promised}, but its content is not: it is damaged or misnamed.",
            "mislabelled",
        )
    return DocumentRefused("The file is binary and of no format that is known here.", "binary")


def _strict(data: bytes, encoding: str, promised: str) -> str:
    width = 4 if "32" in encoding else 2 if "16" in encoding else 1
    try:
        return data[: len(data) - len(data) % width].decode(encoding)
    except UnicodeDecodeError:
        raise no_text(promised) from None


def _utf_16_without_mark(sample: bytes) -> str | None:
    """Text with mostly Latin letters has a zero in every second byte."""
    pairs = len(sample) // 2
    if pairs < 2 or b"\x00" not in sample:
        return None
    even, odd = sample[0 : pairs * 2 : 2].count(0), sample[1 : pairs * 2 : 2].count(0)
    if odd > 0.7 * pairs and even < 0.05 * pairs:
        return "utf-16-le"
    if even > 0.7 * pairs and odd < 0.05 * pairs:
        return "utf-16-be"
    return None


def _guess(data: bytes) -> str:
    """The encoding of text that is no UTF-8. With few letters beyond ASCII it is a Latin one."""
    sample = data[:_SAMPLE_BYTES]
    foreign = data.translate(None, bytes(range(128)))
    if len(foreign) >= _FEW_FOREIGN * len(data):
        import charset_normalizer

        found = charset_normalizer.from_bytes(sample, cp_isolation=_ENCODINGS).best()
        if found is not None and found.encoding != "cp1252":
            return found.encoding
    return max(
        _LATIN, key=lambda name: sum(letter in _LATIN[name] for letter in foreign.decode(name, "replace"))
    )

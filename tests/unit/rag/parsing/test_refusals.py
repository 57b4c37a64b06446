"""What is refused, and what those who dropped it are told: a reason that they understand, never a traceback."""

import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from lisa.rag.parsing import DocumentRefused, Limits, parse

from tests.unit.rag.parsing import hostile
from tests.unit.rag.parsing.documents import FOLDER, refusal

MEBIBYTE = 1 << 20


def fixture(name: str) -> bytes:
    return (FOLDER / name).read_bytes()


@pytest.mark.parametrize("name", ["a.txt", "a.pdf", "a.docx", "a.xlsx", "a"])
def test_an_empty_file(name: str) -> None:
    assert refusal(b"", name).code == "empty"


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.csv", "a.html", "a.xml", "a.json"])
def test_a_file_without_text(name: str) -> None:
    refused = refusal(b"<a> </a>" if name == "a.xml" else b" \n\t\n", name)
    if name == "a.xml":
        assert refused.code in ("empty", "corrupt")
    else:
        assert (refused.code, refused.message) == ("empty", "The file holds no text.")


def test_an_encrypted_pdf() -> None:
    refused = refusal(fixture("encrypted.pdf"), "report.pdf")
    assert refused.code == "encrypted"
    assert refused.message == "The PDF is protected by a password: remove it and add the file again."


def test_an_encrypted_office_document() -> None:
    # Office puts the encrypted package into a file of its old format.
    data = (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
        + bytes(1000)
        + "EncryptedPackage".encode("utf-16-le")
        + bytes(1000)
    )
    for name in ("a.docx", "a.xlsx", "a.pptx"):
        refused = refusal(data, name)
        assert (refused.code, "password" in refused.message) == ("encrypted", True)


def test_an_encrypted_member_of_an_archive() -> None:
    data = bytearray(hostile.docx(hostile.paragraphs(["secret"])))
    for sign, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = data.find(sign)
        while place != -1:
            data[place + flags] |= 1
            place = data.find(sign, place + 4)
    assert refusal(bytes(data), "a.docx").code == "encrypted"


def test_a_book_with_rights_management() -> None:
    with zipfile.ZipFile(FOLDER / "handbook.epub") as book:
        members = {name: book.read(name) for name in book.namelist()}
    fonts_only = '<e><EncryptionMethod Algorithm="http://www.idpf.org/2008/embedding"/></e>'
    assert (
        "The lamp"
        in parse(hostile.archive(members | {"META-INF/encryption.xml": fonts_only}), "book.epub").text
    )
    protected = '<e><EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes128-cbc"/></e>'
    assert (
        refusal(hostile.archive(members | {"META-INF/encryption.xml": protected}), "b.epub").code
        == "encrypted"
    )


def test_a_scan() -> None:
    refused = refusal(fixture("scanned.pdf"), "scan.pdf")
    assert refused.code == "scanned"
    assert "text recognition (OCR)" in refused.message


@pytest.mark.parametrize(
    "name", ["handbook.pdf", "handbook.docx", "slides.pptx", "stations.xlsx", "handbook.epub"]
)
@pytest.mark.parametrize("part", [0.02, 0.5, 0.9])
def test_a_file_that_was_cut_off(name: str, part: float) -> None:
    data = fixture(name)
    refused = refusal(data[: int(len(data) * part)], name)
    assert refused.code in ("corrupt", "mislabelled")
    assert "damaged" in refused.message


KNOWN_CODES = {
    "text",
    "empty",
    "encrypted",
    "scanned",
    "corrupt",
    "mislabelled",
    "unsupported",
    "binary",
    "unsafe",
    "zip_bomb",
    "too_large",
    "too_complex",
}
DAMAGES: list[Callable[[bytearray, random.Random], None]] = [
    lambda data, dice: data.__delitem__(slice(dice.randrange(len(data)), None)),
    lambda data, dice: data.__setitem__(slice(0, 0), dice.randbytes(20)),
    lambda data, dice: (
        [data.__setitem__(dice.randrange(len(data)), dice.randrange(256)) for _ in range(50)] and None
    ),
    lambda data, dice: data.__delitem__(slice(place := dice.randrange(len(data)), place + 300)),
]


def outcome(data: bytes, name: str) -> tuple[str, str]:
    """`text` and it, or the code and the reason of the refusal; any other error fails the test."""
    try:
        return "text", parse(data, name).text.strip()
    except DocumentRefused as refused:
        return refused.code, refused.message


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.*")), ids=lambda path: path.name)
def test_damage_of_any_kind_ends_in_text_or_in_a_reason(path: Path) -> None:
    name = path.name
    for seed in range(8):
        dice, data = random.Random(f"{name}{seed}"), bytearray(fixture(name))
        DAMAGES[seed % len(DAMAGES)](data, dice)
        code, said = outcome(bytes(data), name)
        assert code in KNOWN_CODES
        assert said
        assert code == "text" or ("Error" not in said and said.endswith("."))


def test_what_is_mislabelled_is_recognised() -> None:
    cases = {
        ("handbook.docx", "report.pdf"): "wordprocessingml.document",
        ("handbook.pdf", "report.docx"): "application/pdf",
        ("stations.xlsx", "report.csv"): "spreadsheetml.sheet",
        ("handbook.rtf", "report.doc"): "application/rtf",
        ("stations.xls", "report.xlsx"): "application/vnd.ms-excel",
        ("handbook.html", "report.xls"): "text/html",
        ("handbook.html", "page.txt"): "text/html",
        ("source/stations.csv", "report.xlsx"): "text/plain",
        ("source/handbook.md", "report.pdf"): "text/plain",
        ("message.eml", "mail.txt"): "message/rfc822",
        ("source/columns.fodt", "notes.txt"): "application/xml",
    }
    for (name, told), media_type in cases.items():
        assert parse(fixture(name), told).media_type.endswith(media_type), told


def test_the_declared_type_counts_where_content_and_name_say_nothing() -> None:
    assert parse(b"# A title\n\ntext", "file", "text/markdown; charset=utf-8").title == "A title"
    assert parse(b"a,b\n1,2\n", "file.bin", "text/csv").text == "a | b\n1 | 2"
    assert parse(b"# A title\n\ntext", "file.txt", "text/markdown").media_type == "text/plain"


@pytest.mark.parametrize(
    ("data", "name", "code", "words"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(90), "picture.txt", "unsupported", "a picture (PNG)"),
        (b"\xff\xd8\xff\xe0" + bytes(90), "picture.pdf", "unsupported", "a picture (JPEG)"),
        (bytes(4) + b"ftypisom" + bytes(90), "clip.docx", "unsupported", "video"),
        (b"\x1f\x8b" + bytes(90), "notes.txt.gz", "unsupported", "compressed (gzip)"),
        (b"MZ\x90\x00" + bytes(90), "setup.txt", "unsupported", "a program"),
        (random.Random(1).randbytes(5000), "notes.txt", "binary", "binary"),
        (random.Random(1).randbytes(5000), "report.pdf", "mislabelled", "By its name the file is a PDF"),
        (random.Random(2).randbytes(5000), "report.docx", "mislabelled", "a document of that kind"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "old.doc", "unsupported", "save it as .docx"),
        (hostile.archive({"a.txt": "text"}), "files.zip", "unsupported", "add the files in it one by one"),
        (hostile.archive({"a.txt": "text"}), "files.docx", "unsupported", "add the files in it one by one"),
    ],
)
def test_what_holds_no_text_is_named(data: bytes, name: str, code: str, words: str) -> None:
    refused = refusal(data, name)
    assert (refused.code, words in refused.message) == (code, True), refused.message


@pytest.mark.parametrize("name", ["laughs.xml", "laughs.docx", "laughs.svg"])
def test_entities_are_not_expanded(name: str) -> None:
    data = hostile.docx(hostile.LAUGHS) if name.endswith("docx") else hostile.LAUGHS.encode()
    refused = refusal(data, name)
    assert (refused.code, "entities" in refused.message) == ("unsafe", True)


def test_nothing_from_outside_is_read() -> None:
    assert refusal(hostile.OUTSIDE.encode(), "a.xml").code == "unsafe"
    document = parse(
        hostile.OUTSIDE.replace("<r>", "<html><body>").replace("</r>", "</body></html>").encode(), "a.html"
    )
    assert "root:" not in document.text


def test_an_archive_that_unpacks_to_too_much() -> None:
    limits = Limits(unpacked_bytes=20 * MEBIBYTE)
    bomb = hostile.docx(b" " * (21 * MEBIBYTE))
    assert len(bomb) < MEBIBYTE / 10
    refused = refusal(bomb, "a.docx", limits)
    assert (refused.code, refused.message) == ("zip_bomb", "The file unpacks to more than 20 MiB.")


def test_an_archive_that_lies_about_what_it_unpacks_to() -> None:
    bomb = hostile.lying(hostile.docx(b" " * (21 * MEBIBYTE)), says=1000)
    assert refusal(bomb, "a.docx", Limits(unpacked_bytes=20 * MEBIBYTE)).code == "corrupt"


def test_an_archive_of_very_many_parts() -> None:
    parts = {f"word/part{number}.xml": "" for number in range(20_001)}
    assert refusal(hostile.archive(parts | {"word/document.xml": ""}), "a.docx").code == "zip_bomb"


def test_a_workbook_with_a_cell_at_the_far_end() -> None:
    far = '<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>2</v></c></row>'
    assert refusal(hostile.xlsx(far), "a.xlsx").code in ("too_large", "too_complex")


def test_a_table_of_too_many_cells() -> None:
    rows = "".join(
        f'<row r="{row}">' + "".join(f"<c><v>{column}</v></c>" for column in range(100)) + "</row>"
        for row in range(1, 102)
    )
    refused = refusal(hostile.xlsx(rows), "a.xlsx", Limits(cells=10_000))
    assert (refused.code, "10,000 cells" in refused.message) == ("too_large", True)
    assert refusal(b"a,b\n" * 6_000, "a.csv", Limits(cells=10_000)).code == "too_large"
    assert len(parse(hostile.xlsx(rows), "a.xlsx").text.split("\n")) > 100


def test_json_that_is_nested_deep_stays_as_it_is() -> None:
    data = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    assert parse(data, "deep.json").text == data.decode()


def test_json_for_machines_gets_lines() -> None:
    rows = [{"station": f"Grey Rock {number}", "range": number} for number in range(300)]
    document = parse(json.dumps(rows).encode(), "rows.json")
    assert '  "station": "Grey Rock 7",' in document.text.split("\n")
    assert json.loads(document.text) == rows


def test_html_that_is_nested_deep() -> None:
    def nested(depth: int) -> bytes:
        return b"<div>" * depth + b"the words within" + b"</div>" * depth

    assert parse(nested(1_000), "deep.html").text == "the words within"
    refused = refusal(nested(100_000), "deep.html")
    assert (refused.code, refused.message) == ("too_complex", "The file is nested too deep to be read.")


def test_xml_that_is_nested_deep() -> None:
    assert refusal(b"<a>" * 5_000 + b"x" + b"</a>" * 5_000, "deep.xml").code in ("corrupt", "too_complex")


def test_a_file_that_is_too_large() -> None:
    refused = refusal(b"x" * (2 * MEBIBYTE), "a.txt", Limits(bytes=MEBIBYTE))
    assert (refused.code, refused.message) == ("too_large", "The file has 2.0 MiB, and 1 MiB are allowed.")
    assert refusal(b"words " * 1000, "a.txt", Limits(characters=5_000)).code == "too_large"
    assert refusal(
        hostile.docx(hostile.paragraphs(["words"] * 2000)), "a.docx", Limits(characters=5_000)
    ).code == ("too_large")
    assert refusal(fixture("handbook.pdf"), "a.pdf", Limits(pages=1)).code == "too_large"


def test_messages_within_messages_end_somewhere() -> None:
    message = b"From: a@example.org\nSubject: innermost\n\nthe innermost words\n"
    for level in range(6):
        message = (
            b"From: a@example.org\nSubject: level %d\nMIME-Version: 1.0\n"
            b"Content-Type: multipart/mixed; boundary=b%d\n\n"
            b"--b%d\nContent-Type: text/plain\n\nwords of level %d\n--b%d\n"
            b"Content-Type: application/octet-stream; name=m.eml\nContent-Disposition: attachment; filename=m.eml\n"
            b"\n%s\n--b%d--\n" % (level, level, level, level, level, message, level)
        )
    document = parse(message, "a.eml")
    assert "words of level 5" in document.text
    assert "words of level 3" in document.text
    assert "innermost words" not in document.text
    assert any("too deep" in note for note in document.notes)

"""What the formats' real files do not show: encodings, odd structures, layouts that programs rarely write."""

import pytest
from lisa.rag.parsing import parse

from tests.unit.rag.parsing import hostile

WORDS = "Größe, Maß und Übermut: señor, garçon, naïve. "


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252"]
)
@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.py"])
def test_text_in_every_western_encoding(encoding: str, name: str) -> None:
    assert parse((WORDS * 3).encode(encoding), name).text == WORDS * 3


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("cp1251", "Система поиска документов работает быстро и надёжно, если тексты разделены правильно. "),
        ("koi8_r", "Система поиска документов работает быстро и надёжно, если тексты разделены правильно. "),
        ("shift_jis", "検索システムは文書を分割して埋め込みます。灯台の光は遠くまで届きます。"),
        ("gb18030", "检索系统把文档分成小块。灯塔的光照得很远。每一块的向量都计算出来。"),
        ("euc_kr", "검색 시스템은 문서를 나누고 각 조각의 벡터를 계산합니다. 등대의 빛은 멀리 갑니다."),
        ("cp1253", "σύστημα αναζήτησης χωρίζει έγγραφα σε μικρά κομμάτια και τα ενσωματώνει. "),
        ("cp1250", "Latarnik czyta zapiski, zanim zacznie wachtę: światło, mgła i łódź były późno. "),
    ],
)
def test_text_in_other_encodings_is_guessed(encoding: str, words: str) -> None:
    assert parse((words * 4).encode(encoding), "a.txt").text == words * 4


def test_line_breaks_of_every_kind_become_one() -> None:
    assert parse(b"one\r\ntwo\rthree\x0bfour\nfive\x1b[0m", "a.log").text == "one\ntwo\nthree\nfour\nfive[0m"


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_marks_between_values_are_found(mark: str) -> None:
    rows = [["station", "range", "note"], ["Grey Rock", "4", '"a, b; c"'], ["Saint Orla", "6", "none"]]
    document = parse("\n".join(mark.join(row) for row in rows).encode(), "a.csv")
    assert document.text == "station | range | note\nGrey Rock | 4 | a, b; c\nSaint Orla | 6 | none"
    assert [heading.text for heading in document.headings] == ["station | range | note"]


def test_rows_without_names_are_only_rows() -> None:
    document = parse(b"1,2\n3,4\n", "a.csv")
    assert (document.text, document.headings) == ("1 | 2\n3 | 4", ())


def test_xml_of_any_vocabulary() -> None:
    data = (
        b'<?xml version="1.0"?><log xmlns="urn:x"><entry level="warn"><when>1911</when><text>The <b>boat</b> came late'
        b"</text></entry>tail<empty/><!-- not this --></log>"
    )
    document = parse(data, "a.xml")
    assert document.text.split("\n") == ["entry level=warn", "when: 1911", "text: The boat came late", "tail"]


def test_html_shows_what_a_browser_shows() -> None:
    data = (
        "<!doctype html><html><head><title>The &amp; title</title><style>p{}</style></head><body>"
        "<script>var hidden = 1</script><h1>Part <em>one</em></h1><p>First<br>line &lt;two&gt;</p><div>In a "
        "<span>div</span></div><ul><li>item <p>with paragraph</p></li><li>next<ol><li>inner</li></ol></li></ul>"
        "<table><tr><th>A<td>B</tr><tr><td><p>1</p><p>2</p><td></td><td>3</table><pre>a\n  b</pre><p hidden>no</p>"
        "tail</body></html>"
    )
    document = parse(data.encode(), "a.html")
    assert document.title == "The & title"
    assert [line for line in document.text.split("\n") if line] == [
        "Part one",
        "First",
        "line <two>",
        "In a div",
        "- item",
        "with paragraph",
        "- next",
        "1. inner",
        "A | B",
        "1 2 |  | 3",
        "a",
        "  b",
        "tail",
    ]


@pytest.mark.parametrize("declared", ["iso-8859-1", "windows-1252", "utf-8", "no-such-charset"])
def test_html_in_its_own_encoding(declared: str) -> None:
    page = f'<html><head><meta charset="{declared}"></head><body><p>{WORDS}</p></body></html>'
    encoding = {"windows-1252": "cp1252", "no-such-charset": "utf-8"}.get(declared, declared)
    assert parse(page.encode(encoding), "a.html").text == WORDS.strip()


def test_word_keeps_what_is_not_yet_accepted_and_drops_what_was_deleted() -> None:
    body = (
        f'<w:document xmlns:w="{hostile.WORD}"><w:body><w:p><w:r><w:t>kept </w:t></w:r><w:ins><w:r><w:t>inserted'
        "</w:t></w:r></w:ins><w:del><w:r><w:delText>deleted</w:delText></w:r></w:del></w:p><w:sdt><w:sdtContent>"
        "<w:p><w:hyperlink><w:r><w:t>in a control</w:t></w:r></w:hyperlink></w:p></w:sdtContent></w:sdt>"
        "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>a</w:t></w:r></w:p><w:p><w:r><w:t>b</w:t></w:r></w:p></w:tc><w:tc><w:p>"
        "<w:r><w:t>c</w:t><w:tab/><w:t>d</w:t></w:r></w:p></w:tc></w:tr></w:tbl></w:body></w:document>"
    )
    assert parse(hostile.docx(body), "a.docx").text == "kept inserted\n\nin a control\n\na b | c d"


def shown(*lines: tuple[float, float, str]) -> bytes:
    """The content of a page: texts at places."""
    return b"".join(b"BT /F 10 Tf %f %f Td (%s) Tj ET\n" % (x, y, text.encode()) for x, y, text in lines)


def test_columns_that_were_written_line_by_line() -> None:
    left = [f"left line {number} speaks of the northern lamps" for number in range(8)]
    right = [f"right line {number} speaks of southern buoys" for number in range(8)]
    lines = [
        place
        for number in range(8)
        for place in ((72, 700 - 12 * number, left[number]), (330, 700 - 12 * number, right[number]))
    ]
    document = parse(hostile.pdf(shown((72, 740, "A heading above both of the columns"), *lines)), "a.pdf")
    read = [line for line in document.text.split("\n") if line]
    assert read == ["A heading above both of the columns", *left, *right]


def test_a_table_that_was_written_cell_by_cell() -> None:
    cells = [
        (72 + 150 * column, 700 - 14 * row, f"r{row}c{column}") for row in range(6) for column in range(3)
    ]
    document = parse(hostile.pdf(shown(*cells)), "a.pdf")
    assert document.text.split("\n") == [f"r{row}c0 | r{row}c1 | r{row}c2" for row in range(6)]


def test_a_message_in_html_with_an_odd_header() -> None:
    data = (
        b"Subject: =?utf-8?q?Caf=C3=A9?=\nFrom: <>\nDate: yesterday\nContent-Type: text/html; charset=latin-1\n"
        b"Content-Transfer-Encoding: quoted-printable\n\n<h2>Gr=FC=DFe</h2><p>One =\nline</p>"
    )
    document = parse(data, "a.eml")
    assert document.title == "Café"
    assert document.text.endswith("Grüße\n\nOne line")
    assert [(heading.level, heading.text) for heading in document.headings] == [(3, "Grüße")]


def test_source_code_names_its_language() -> None:
    cases = {
        "a.py": "python",
        "src/Main.java": "java",
        "x.tsx": "ts",
        "Dockerfile": "dockerfile",
        "q.sql": "sql",
    }
    assert {name: parse(b"words = 1", name).syntax for name in cases} == cases
    assert parse(b"words: 1", "a.yaml").media_type == "application/yaml"


def test_an_exponent_stays_in_its_line() -> None:
    content = b"BT /F 12 Tf 72 700 Td (area x) Tj ET BT /F 8 Tf 105.6 705 Td (2) Tj ET "
    content += b"BT /F 12 Tf 114 700 Td (plus y) Tj ET"
    assert parse(hostile.pdf(content), "a.pdf").text == "area x2 plus y"


def test_lines_that_run_through_a_document_are_kept_once() -> None:
    subjects = ["lamps", "wicks", "boats", "tides", "birds", "storms"]
    lines = [
        (f"Annual report {number}", f"about {word}", str(number)) for number, word in enumerate(subjects, 1)
    ]
    places = [shown((72, 740, head), (72, 600, words), (300, 40, foot)) for head, words, foot in lines]
    document = parse(hostile.pdf(*places), "a.pdf")
    assert [document.text[page.start : page.end] for page in document.pages] == [
        "Annual report 1\n\nabout lamps",
        *(f"about {word}" for word in subjects[1:]),
    ]
    assert [page.number for page in document.pages] == [1, 2, 3, 4, 5, 6]


def test_paragraphs_of_a_pdf_are_apart_and_its_lines_are_not() -> None:
    places = [(72, 700, "one"), (72, 688, "two"), (72, 664, "three"), (72, 652, "four")]
    assert parse(hostile.pdf(shown(*places)), "a.pdf").text == "one\ntwo\n\nthree\nfour"


def test_the_outline_names_headings_where_all_letters_have_one_size() -> None:
    outline = (
        b"<</Type/Outlines/First 7 0 R/Last 7 0 R/Count 1>>",
        b"<</Title(The lamp)/Parent 6 0 R/Dest[3 0 R/Fit]>>",
    )
    data = hostile.pdf(shown((72, 700, "The lamp"), (72, 688, "is lit at dusk")), outline=outline)
    document = parse(data, "a.pdf")
    assert [(heading.level, heading.text, heading.start) for heading in document.headings] == [
        (1, "The lamp", 0)
    ]

"""Every format's text, title, headings, pages and tables, from real files."""

import pytest
from lisa.rag.parsing import ParsedDocument, parse

from tests.unit.rag.parsing.documents import FOLDER, parsed

OFFICE = "application/vnd.openxmlformats-officedocument"
TITLE = "Field handbook for lighthouse keepers"
HANDBOOKS = (
    "handbook.pdf",
    "handbook.docx",
    "handbook.odt",
    "handbook.rtf",
    "handbook.html",
    "handbook.epub",
)
MEDIA_TYPES = {
    "handbook.pdf": "application/pdf",
    "handbook.docx": f"{OFFICE}.wordprocessingml.document",
    "handbook.odt": "application/vnd.oasis.opendocument.text",
    "handbook.rtf": "application/rtf",
    "handbook.html": "text/html",
    "handbook.epub": "application/epub+zip",
}


def flowing(document: ParsedDocument) -> str:
    """Without the line breaks that a format may set anywhere."""
    return " ".join(document.text.split())


@pytest.mark.parametrize("name", HANDBOOKS)
def test_a_document_reads_the_same_in_every_format(name: str) -> None:
    document = parsed(name)
    text = flowing(document)
    assert document.title == TITLE
    assert document.media_type == MEDIA_TYPES[name]
    assert "What was noted there decides the first hour: a lamp that flickered" in text
    # Emphasis does not divide words, and no letter is lost.
    assert (
        "Clean the lens with vinegar and water only; never use sand. Größere Linsen brauchen länger" in text
    )
    assert "灯台 is the word on the eastern charts." in text
    assert (
        text.index("Trim the wick") < text.index("Wind the clockwork fully.") < text.index("Count to thirty.")
    )
    assert "def range_of(station: str) -> float:" in text


@pytest.mark.parametrize("name", HANDBOOKS)
def test_rows_of_a_table_stay_together(name: str) -> None:
    lines = parsed(name).text.split("\n")
    for row in ("Station | Range (m) | Light (nm)", "Grey Rock | 4.2 | 18", "Windward Point | 3.1 | 12"):
        assert row in lines


@pytest.mark.parametrize("name", HANDBOOKS)
def test_headings_are_found_with_their_levels_and_places(name: str) -> None:
    document = parsed(name)
    headings = [(heading.level, heading.text) for heading in document.headings if heading.text != TITLE]
    outermost = headings[0][0]
    assert [(level - outermost, text) for level, text in headings] == [
        (0, "Before the watch"),
        (1, "The lamp"),
        (1, "The fog signal"),
        (0, "Tides and distances"),
        (0, "After the watch"),
        (1, "The log"),
    ]
    assert [document.text[heading.start : heading.end] for heading in document.headings] == [
        heading.text for heading in document.headings
    ]


def test_markdown_stays_as_it_is_written() -> None:
    document = parsed("source/handbook.md")
    assert document.text == (FOLDER / "source/handbook.md").read_text()
    assert (document.title, document.syntax, document.media_type) == (TITLE, "markdown", "text/markdown")
    assert [(heading.level, document.text[heading.start : heading.end]) for heading in document.headings] == [
        (1, "# Before the watch"),
        (2, "## The lamp"),
        (2, "## The fog signal"),
        (1, "# Tides and distances"),
        (1, "# After the watch"),
        (2, "## The log"),
    ]


def test_markdown_of_the_other_kind() -> None:
    written = "Title *here*\n=====\n\nText\n\nPart\n---\n\n- item\n---\n\n~~~\n# no\n~~~~\n#not\n   ## Closed ##\n#\n"
    document = parse(written.encode(), "a.md")
    assert [(heading.level, heading.text) for heading in document.headings] == [
        (1, "Title *here*"),
        (2, "Part"),
        (2, "Closed"),
    ]
    assert document.title == "Title *here*"


def test_pages_of_a_pdf() -> None:
    document = parsed("handbook.pdf")
    assert [page.number for page in document.pages] == [1, 2]
    first, second = (document.text[page.start : page.end] for page in document.pages)
    assert first.startswith(TITLE)
    assert "Saint Orla | 6.9 | 21" in first
    assert "Sign with your full" in second
    assert "Sign with your full" not in first


def test_columns_are_read_one_after_the_other() -> None:
    text = flowing(parsed("columns.pdf"))
    assert "the long winters without relief. Then the eye returns to the top of the right column" in text
    assert text.startswith("A report in two columns First the left column is read from its top to its bottom")
    assert text.endswith("which are calm seas.")


@pytest.mark.parametrize("name", ["slides.pptx", "slides.pdf", "slides.odp"])
def test_slides_are_pages(name: str) -> None:
    document = parsed(name)
    slides = {page.number: document.text[page.start : page.end].strip() for page in document.pages}
    assert document.title == "Winter maintenance"
    assert list(slides) == [1, 2, 3, 4]
    assert slides[2].startswith("Why we close in January")
    assert "The supply boat cannot land" in slides[2]
    assert "Gallery | 6" in slides[3].split("\n")
    assert slides[4].endswith("stay on the rock.")
    assert [heading.text for heading in document.headings][1:] == [
        "Why we close in January",
        "What is repaired",
        "Who stays",
    ]


@pytest.mark.parametrize("name", ["slides.pptx", "slides.odp"])
def test_speakers_notes_belong_to_their_slide(name: str) -> None:
    document = parsed(name)
    second = document.pages[1]
    assert "Remind them of the accident of 1911." in document.text[second.start : second.end]
    assert "<number>" not in document.text


@pytest.mark.parametrize("name", ["stations.xlsx", "stations.xls", "stations.ods", "source/stations.csv"])
def test_workbooks_are_read_row_by_row(name: str) -> None:
    document = parsed(name)
    lines = document.text.split("\n")
    assert "Grey Rock | 1904-05-01 | 41.5 | TRUE" in lines
    assert "Saint Orla | 1902-11-17 | 28 | FALSE" in lines
    # The names of the columns are embedded with every row.
    columns = document.headings[-1]
    assert (columns.text, columns.start < document.text.index("Grey Rock")) == (
        "Station | Opened | Height (m) | Manned",
        True,
    )
    if not name.endswith(".csv"):
        assert document.headings[0].text == "stations"


def test_a_message_with_what_is_attached() -> None:
    document = parsed("message.eml")
    assert document.title == "Überprüfung der Lampen: results"
    assert document.media_type == "message/rfc822"
    lines = document.text.split("\n")
    assert lines[:4] == [
        "From: Orla Brandt <orla@example.org>",
        "To: keepers@example.org",
        "Date: Mon, 05 Jan 2026 09:30:00 +0100",
        "Subject: Überprüfung der Lampen: results",
    ]
    assert document.text.count("Grey Rock needs a new wick") == 1  # of its two forms one
    assert "Grey Rock needs a new wick \N{EN DASH} soon." in lines
    headings = [heading.text for heading in document.headings]
    assert "Attachment: stations.csv" in headings
    assert "Attachment: Handbuch für Wärter.docx" in headings
    assert "Grey Rock | 1904-05-01 | 41.5 | TRUE" in lines
    assert headings.index("The fog signal") > headings.index("Attachment: Handbuch für Wärter.docx")
    assert document.notes == (
        "Attachment lamp.png: The file is a picture (PNG), which holds no text to search.",
    )


def test_a_document_survives_its_way_through_s3() -> None:
    for name in ("message.eml", "handbook.pdf", "source/handbook.md"):
        document = parsed(name)
        assert ParsedDocument.loads(document.dumps()) == document

"""Rich Text Format."""

import re

from striprtf.striprtf import rtf_to_text

from lisa.rag.parsing.document import SEPARATOR, Builder, Limits, ParsedDocument
from lisa.rag.parsing.kinds import Kind

_TITLE = re.compile(r"\{\\info\b[^}]{0,2000}?\{\\title\s+([^{}\\]{1,300})\}")
# The library drops what is known of paragraphs, so the level of a heading travels in the text.
_STYLE = re.compile(r"\{\\s(\d{1,4})\\[^;{}]{0,1000} heading ([1-9]);", re.IGNORECASE)
_STYLED = re.compile(r"\\s(\d{1,4})(?![0-9]) ?")
_LEVEL = re.compile(r"\\outlinelevel([0-8])(?![0-9]) ?")
_MARK = "[[outline level {}]]"
_MARKED = re.compile(r"\[\[outline level ([0-8])\]\]")
_CELLS = re.compile(r"[ \t]*\|[ \t]*")


def parse(data: bytes, kind: Kind, limits: Limits) -> ParsedDocument:
    builder = Builder(limits, kind.media_type)
    written = data.decode(
        "cp1252", "replace"
    )  # what is beyond ASCII is written in escapes, by the file's code page
    if title := _TITLE.search(written):
        builder.title = title[1]
    for line in rtf_to_text(_marked(written), encoding="cp1252", errors="replace").split("\n"):
        if level := _MARKED.search(line):
            builder.heading(int(level[1]) + 1, _MARKED.sub("", line))
        elif not line.strip():
            builder.gap()
        elif line.rstrip().endswith("|"):  # the end of a table's row
            builder.row(_CELLS.split(line.rstrip()[:-1]))
        else:
            builder.line(line.replace("|", SEPARATOR) if line.count("|") > 1 else line)
    return builder.document()


def _marked(written: str) -> str:
    """With marks in the paragraphs that are headings, by their style or by their own level."""
    styles = {found[1]: int(found[2]) - 1 for found in _STYLE.finditer(written)}
    body = max((found.end() for found in _STYLE.finditer(written)), default=0)

    def styled(found: re.Match[str]) -> str:
        level = styles.get(found[1])
        return found[0] if level is None else f"{found[0].rstrip()} {_MARK.format(level)}"

    return written[:body] + _LEVEL.sub(
        lambda found: f"{found[0].rstrip()} {_MARK.format(found[1])}", _STYLED.sub(styled, written[body:])
    )

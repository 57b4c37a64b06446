"""Workbooks: sheet by sheet, row by row."""

import datetime
import io
from typing import Any

import python_calamine as calamine

from lisa.rag.parsing.document import Builder, DocumentRefused, Limits, ParsedDocument
from lisa.rag.parsing.kinds import Kind
from lisa.rag.parsing.tables import Sheet

_MIDNIGHT = datetime.time()


def parse(data: bytes, kind: Kind, limits: Limits) -> ParsedDocument:
    builder = Builder(limits, kind.media_type)
    try:
        workbook = calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
    except calamine.PasswordError:
        raise DocumentRefused(
            "The workbook is protected by a password: remove it and add the file again.", "encrypted"
        ) from None
    except calamine.CalamineError:
        raise DocumentRefused("The workbook is damaged.", "corrupt") from None
    cells = 0
    for name in workbook.sheet_names:
        try:
            sheet = workbook.get_sheet_by_name(name)
        except calamine.CalamineError:  # a sheet that holds a chart
            builder.note(f"The sheet {name} could not be read.")
            continue
        cells += sheet.total_height * sheet.total_width
        if cells > limits.cells:
            raise DocumentRefused(
                f"The workbook has more than {limits.cells:,} cells: split it.", "too_large"
            )
        rows = Sheet(builder, name)
        for row in sheet.iter_rows():
            rows.row([_shown(value) for value in row])
    return builder.document()


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return f"{value:.15g}"
    if isinstance(value, datetime.datetime):
        return value.date().isoformat() if value.time() == _MIDNIGHT else value.isoformat(" ", "seconds")
    return str(value)

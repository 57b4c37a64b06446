"""A report as CSV, for spreadsheets."""

import csv
import io

from lisa.usage.schema import Report, UsedRow

# With these a spreadsheet takes a cell for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def as_csv(report: Report) -> str:
    """RFC 4180: a line of names, then a line for each row."""
    by_value = report.group_by != "day"
    names = [name for name in UsedRow.model_fields if name not in ("period", "value")]
    labels = [UsedRow.model_fields[name].alias or name for name in names]
    out = io.StringIO()
    lines = csv.writer(out)
    lines.writerow([report.granularity, *([report.group_by] if by_value else []), *labels])
    for row in report.rows:
        numbers = [_number(getattr(row, name)) for name in names]
        lines.writerow([row.period, *([_text(row.value)] if by_value else []), *numbers])
    return out.getvalue()


def _text(value: str) -> str:
    return f"'{value}" if value.startswith(_FORMULA) else value


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.6f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)

"""Finds personal data in a text, by form and check digits. Pure functions, each linear in the text's length.

A form is not a proof: a number that looks like a card and has a card's check digit is taken for one.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["email", "phone", "credit_card", "iban", "ip_address", "us_ssn"]

LABELS: dict[Kind, str] = {
    "email": "[EMAIL]",
    "phone": "[PHONE]",
    "credit_card": "[CREDIT_CARD]",
    "iban": "[IBAN]",
    "ip_address": "[IP_ADDRESS]",
    "us_ssn": "[US_SSN]",
}


@dataclass(frozen=True, slots=True)
class Span:
    """A place in a text, from `start` up to before `end`, and what to put there when it is masked."""

    start: int
    end: int
    label: str


# The possessive `++` keeps a long run of letters from being tried again from each of them.
_EMAIL = re.compile(
    r"(?<![\w.%+\-])[\w.%+\-]++@(?:[^\W_](?:[\w\-]{0,62}[^\W_])?\.){1,8}[^\W\d_]{2,24}(?![\w])"
)
_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4 = re.compile(rf"(?<![\d.]){_OCTET}(?:\.{_OCTET}){{3}}(?!\d|\.\d)", re.ASCII)
_SSN = re.compile(r"(?<!\d)(?<!\d[- ])(?!000|666|9)\d{3}([- ])(?!00)\d{2}\1(?!0000)\d{4}(?![- ]?\d)")
_PHONES = (
    # With a country's code: 8 to 15 digits (ITU-T E.164).
    re.compile(r"(?<![\w+])(?:\+|00)[1-9](?:[ .\-/()]{0,2}\d){7,14}(?!\d)"),
    # North America's ten, grouped: plain ones could be any number.
    re.compile(r"(?<![\w.\-])(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[ .\-])[2-9]\d{2}[ .\-]\d{4}(?![\w\-]|\.\d)"),
)
_DIGITS = re.compile(r"\d(?:[ \-]?\d){12,}+")
_IBAN = re.compile(r"(?<![^\W_])[A-Z]{2}\d{2}(?:[ \-]?[A-Z0-9]){11,29}", re.IGNORECASE | re.ASCII)
# In characters; what is looked for is shorter than the overlap.
WINDOW, OVERLAP = 32_768, 1024
# The lengths of the IBAN registry (ISO 13616), by country.
_IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FI FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV", 22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST", 26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HU LB NI PL SV", 29: "BR EG PS QA UA",
        30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip
_CARD_LENGTHS = range(19, 12, -1)


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit)
        if position % 2:
            value = value * 2 - 9 if value > 4 else value * 2
        total += value
    return total % 10 == 0


def mod97(iban: str) -> bool:
    """Whether an IBAN without spaces has the check digits of its country and account (ISO 13616, ISO 7064)."""
    rearranged = iban[4:] + iban[:4]
    return int("".join(str(int(sign, 36)) for sign in rearranged)) % 97 == 1


def _matches(pattern: re.Pattern[str]) -> Callable[[str], Iterator[tuple[int, int]]]:
    return lambda text: (match.span() for match in pattern.finditer(text))


def _phones(text: str) -> Iterator[tuple[int, int]]:
    for pattern in _PHONES:
        yield from _matches(pattern)(text)


def _cards(text: str) -> Iterator[tuple[int, int]]:
    """Card numbers, also among other numbers; one begins and ends where a group of digits does."""
    for run in _DIGITS.finditer(text):
        places = [at for at in range(run.start(), run.end()) if text[at].isdigit()]
        begins = [i for i, at in enumerate(places) if i == 0 or places[i - 1] != at - 1]
        ends = {i for i, at in enumerate(places, 1) if i == len(places) or places[i] != at + 1}
        digits = "".join(text[at] for at in places)
        done = 0
        for begin in begins:
            if begin < done or digits[begin] not in "23456":
                continue
            for length in _CARD_LENGTHS:
                if begin + length in ends and luhn(digits[begin : begin + length]):
                    done = begin + length
                    yield places[begin], places[done - 1] + 1
                    break


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    at = 0
    while (match := _IBAN.search(text, at)) is not None:
        start, end = match.span()
        at = start + 1
        length = _IBAN_LENGTHS.get(text[start : start + 2].upper(), 0)
        # What follows an account may look like more of it: its country says where it ends.
        places = [place for place in range(start, end) if text[place].isalnum()][:length]
        if not length or len(places) < length or text[places[-1] + 1 : places[-1] + 2].isalnum():
            continue
        if mod97("".join(text[place] for place in places)):
            at = places[-1] + 1
            yield start, at


_FINDERS: dict[Kind, Callable[[str], Iterable[tuple[int, int]]]] = {
    "email": _matches(_EMAIL),
    "credit_card": _cards,
    "iban": _ibans,
    "us_ssn": _matches(_SSN),
    "ip_address": _matches(_IPV4),
    "phone": _phones,
}


def find(text: str, kinds: Iterable[Kind]) -> list[Span]:
    """Where the text holds these kinds of data, in order and apart from each other.

    A long text is searched window by window: one search keeps the interpreter from everybody else.
    """
    chosen = frozenset(kinds)
    wanted = [kind for kind in _FINDERS if kind in chosen]
    return apart(
        Span(at + start, at + end, LABELS[kind])
        for at in range(0, max(len(text), 1), WINDOW)
        for window in [text[at : at + WINDOW + OVERLAP]]
        for kind in wanted
        for start, end in _FINDERS[kind](window)
    )


def apart(spans: Iterable[Span]) -> list[Span]:
    """The spans in order; those that overlap become one, with the label of the first."""
    joined: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        if joined and span.start < joined[-1].end:
            last = joined[-1]
            joined[-1] = Span(last.start, max(last.end, span.end), last.label)
        else:
            joined.append(span)
    return joined

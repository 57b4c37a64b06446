"""The detectors: what has the form and the check digits is found wherever it stands, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lisa.guardrails.pii import LABELS, OVERLAP, WINDOW, Span, apart, find, luhn, mod97

AROUND = st.text(alphabet="xyz äß,;!?\n", max_size=20)
DIGITS = "0123456789"


def found(text, kind):
    return [text[span.start : span.end] for span in find(text, [kind])]


def with_check_digit(digits):
    return next(digits + last for last in DIGITS if luhn(digits + last))


def grouped(number, size, between):
    return between.join(number[at : at + size] for at in range(0, len(number), size))


def iban(country, account):
    rearranged = "".join(str(int(sign, 36)) for sign in f"{account}{country}00")
    return f"{country}{98 - int(rearranged) % 97:02d}{account}"


@given(
    st.sampled_from("23456"),
    st.text(DIGITS, min_size=11, max_size=17),
    st.sampled_from(["", " ", "-"]),
    AROUND,
    AROUND,
)
def test_every_card_number_is_found(first, middle, between, before, after):
    card = grouped(with_check_digit(first + middle), 4, between)
    assert found(f"{before} {card} {after}", "credit_card") == [card]


@given(st.sampled_from("23456"), st.text(DIGITS, min_size=14, max_size=14), st.integers(1, 9))
def test_a_number_with_another_check_digit_is_no_card(first, middle, off):
    card = with_check_digit(first + middle)
    assert found(card[:-1] + str((int(card[-1]) + off) % 10), "credit_card") == []


def test_a_card_among_other_numbers_is_found():
    assert found("1 4111 1111 1111 1111 2", "credit_card") == ["4111 1111 1111 1111"]


@given(st.text(DIGITS, min_size=18, max_size=18), st.sampled_from(["", " "]), AROUND)
def test_every_iban_is_found_whatever_follows(account, between, after):
    number = grouped(iban("DE", account), 4, between)
    assert found(f"to {number} {after}", "iban") == [number]
    assert found(f"to {number.lower()} AND MORE", "iban") == [number.lower()]


@given(st.text(DIGITS, min_size=18, max_size=18), st.integers(1, 96))
def test_an_iban_with_other_check_digits_is_none(account, off):
    number = iban("DE", account)
    check = (int(number[2:4]) - 2 + off) % 97 + 2
    if f"{check:02d}" != number[2:4]:
        assert not mod97(f"DE{check:02d}{account}")
        assert found(f"DE{check:02d}{account}", "iban") == []


@given(
    st.from_regex(r"[a-z0-9][a-z0-9._%+]{0,80}", fullmatch=True),
    st.from_regex(r"[a-z]{1,20}\.[a-z]{2,10}", fullmatch=True),
)
def test_every_address_of_mail_is_found(who, host):
    assert found(f"<{who}@{host}>", "email") == [f"{who}@{host}"]


@given(st.tuples(*[st.integers(0, 255)] * 4))
def test_every_ipv4_address_is_found(octets):
    address = ".".join(map(str, octets))
    assert found(f"at {address}.", "ip_address") == [address]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("ip_address", "256.1.1.1"), ("ip_address", "1.2.3.4.5"), ("ip_address", "version 1.2.3"),
        ("us_ssn", "000-12-3456"), ("us_ssn", "666-12-3456"), ("us_ssn", "912-12-3456"), ("us_ssn", "123-00-4567"),
        ("us_ssn", "123-45-0000"), ("us_ssn", "123-45-67890"), ("phone", "1234567890"), ("phone", "2026-11-27"),
        ("email", "a@b"), ("email", "@example.org"), ("iban", "DE00 1234"),
    ],
)  # fmt: skip
def test_what_only_looks_alike_is_not_found(kind, text):
    assert found(text, kind) == []


@pytest.mark.parametrize(
    "text", ["+49 30 901820", "+14155552671", "(415) 555-2671", "415-555-2671", "0049 30 901820"]
)
def test_phones_are_found(text):
    assert found(f"call {text} now", "phone") == [text]


@given(
    st.text(DIGITS, min_size=3, max_size=3).filter(lambda t: t[0] != "9" and t not in ("000", "666")),
    st.sampled_from("- "),
)
def test_every_social_security_number_is_found(area, between):
    number = f"{area}{between}45{between}6789"
    assert found(f"is {number}.", "us_ssn") == [number]


@given(st.text())
def test_spans_lie_in_the_text_in_order_and_apart(text):
    spans = find(text, LABELS)
    places = [place for span in spans for place in (span.start, span.end)]
    assert places == sorted(places)
    assert all(0 <= span.start < span.end <= len(text) for span in spans)


def test_spans_that_overlap_become_one():
    assert apart([Span(3, 9, "b"), Span(0, 4, "a"), Span(9, 10, "c")]) == [Span(0, 9, "a"), Span(9, 10, "c")]


@pytest.mark.parametrize("at", [0, WINDOW - 30, WINDOW - 8, WINDOW, WINDOW + OVERLAP - 8, 3 * WINDOW - 1])
def test_what_lies_across_two_windows_is_found_once(at):
    text = "." * at + " jo.doe@example.org " + "." * WINDOW
    assert found(text, "email") == ["jo.doe@example.org"]

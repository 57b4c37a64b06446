import re

import pytest
from lisa.tokens.format import LENGTH, is_api_token, is_well_formed, new_token


def test_a_token_is_recognised_by_its_shape():
    for _ in range(100):
        token = new_token()
        assert re.fullmatch(r"lisa_[0-9A-Za-z]{49}", token)
        assert len(token) == LENGTH
        assert is_api_token(token)
        assert is_well_formed(token)


def test_no_two_tokens_are_alike():
    assert len({new_token() for _ in range(1000)}) == 1000


def test_every_typing_error_of_one_character_is_noticed():
    token = new_token()
    for place in range(len(token)):
        for other in "aZ9_\u00e9 ":
            if token[place] != other:
                assert not is_well_formed(token[:place] + other + token[place + 1 :])


def test_two_characters_exchanged_are_noticed():
    token = new_token()
    for place in range(5, len(token) - 1):
        swapped = token[:place] + token[place + 1] + token[place] + token[place + 2 :]
        assert swapped == token or not is_well_formed(swapped)


@pytest.mark.parametrize(
    "text",
    ["", "lisa_", "lisa_" + "0" * 49 + "0", "LISA_" + "0" * 49, "eyJhbGciOi.a.b", "lisa_" + "\ud800" * 49],
)
def test_what_is_none_is_not_well_formed(text):
    assert not is_well_formed(text)

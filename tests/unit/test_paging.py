"""The tokens of pages: ours come back as they went, others are refused by name."""

import base64

import pytest
from lisa.errors import InvalidRequest
from lisa.paging import check_size, key_of, next_token


@pytest.mark.parametrize("key", ["m1", "user#alice", "gr\u00fc\u00dfe/#%?", "x" * 256])
def test_a_token_stands_for_its_key(key):
    assert key_of(next_token(key)) == key


def test_the_end_has_no_token_and_the_beginning_no_key():
    assert next_token(None) is None
    assert key_of(None) is key_of("") is None


@pytest.mark.parametrize(
    "token",
    [
        "not base64!",
        "YQ",
        "\u00e9",
        base64.urlsafe_b64encode(b"\xff").decode(),
        # DynamoDB would refuse a key of this length: an error of the caller's, not of ours.
        base64.urlsafe_b64encode(b"k" * 2000).decode(),
    ],
)
def test_a_token_that_no_page_gave_is_refused(token):
    with pytest.raises(InvalidRequest) as refused:
        key_of(token)
    assert refused.value.field == "nextToken"


@pytest.mark.parametrize("size", [0, -1, 101])
def test_a_size_that_no_page_has_is_refused(size):
    with pytest.raises(InvalidRequest) as refused:
        check_size(size)
    assert refused.value.field == "pageSize"


@pytest.mark.parametrize("size", [None, 1, 100])
def test_other_sizes_are_fine(size):
    check_size(size)

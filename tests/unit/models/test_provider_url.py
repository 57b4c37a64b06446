import pytest
from lisa.errors import InvalidRequest
from lisa.models.provider_url import check_provider_url

ALLOWED = ("api.example.com", "*.models.example.org", "127.0.0.1", "localhost", "::1", "169.254.169.254")


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com",
        "https://API.example.com/v1",
        "http://api.example.com:8443/v1/",
        "https://eu.models.example.org/v1",
        "http://127.0.0.1:9000/v1",
        "http://localhost:9000",
        "http://[::1]:9000/v1",
    ],
)
def test_an_allowed_host_may_be_named(url):
    check_provider_url(url, ALLOWED)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.example.com/v1",
        "ftp://api.example.com",
        "file:///etc/passwd",
        "https://",
        "https:///v1",
        "https://elsewhere.example.com",
        "https://api.example.com.evil.test",
        "https://models.example.org",
        "https://evilmodels.example.org",
        "https://user@api.example.com/",
        "https://user:word@api.example.com/",
        "https://api.example.com@evil.test/",
        "https://evil.test#@api.example.com/",
        "https://evil.test\\@api.example.com/",
        "https://api.example.com:port/",
        "https://api.example.com:99999/",
        "https://api.example.com/ path",
        "https://api.example.com/\nHost: x",
        "https://api.exa\u043cple.com/",
        "https://api.example.com/?key=1",
        "https://api.example.com/#part",
        "http://[::1/",
        "http://127.1/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://2130706433/",
        "http://017700000001/",
        "http://127.0.0.2/",
        "http://0.0.0.0/",
    ],
)
def test_everything_else_is_refused_naming_the_field(url):
    with pytest.raises(InvalidRequest) as raised:
        check_provider_url(url, ALLOWED)
    assert raised.value.field == "modelUrl"


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://169.254.170.2/v2/credentials",
        "http://[fe80::1]/",
        "http://[::ffff:169.254.169.254]/",
    ],
)
def test_link_local_addresses_stay_closed_even_if_they_are_listed(url):
    with pytest.raises(InvalidRequest):
        check_provider_url(url, (*ALLOWED, "fe80::1", "::ffff:a9fe:a9fe", "*"))


def test_a_star_stands_for_names_and_for_no_address():
    check_provider_url("https://anything.example.net/v1", ("*",))
    with pytest.raises(InvalidRequest):
        check_provider_url("http://10.0.0.1/", ("*",))


def test_the_refusal_says_who_can_allow_the_host():
    with pytest.raises(InvalidRequest, match="AllowedProviderHosts"):
        check_provider_url("https://elsewhere.example.com", ALLOWED)

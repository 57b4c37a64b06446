import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from lisa.errors import Unauthenticated, Unavailable
from lisa.identity.keys import KeySet, fetch_json, usable_key

from tests.unit.identity.issuer import EC_KEY, OTHER_RSA_KEY, RSA_KEY, Clock, Issuer, public_jwk


def test_keys_are_found_through_discovery_and_fetched_once(issuer):
    keys = KeySet(issuer.url, fetch=issuer.fetch, clock=Clock())
    assert [keys.find(kid) is not None for kid in ("rsa-1", "ec-1", "rsa-1")] == [True, True, True]
    assert issuer.asked == [issuer.url + "/.well-known/openid-configuration", issuer.url + "/keys"]


def test_a_given_address_of_the_keys_is_used_without_discovery(issuer):
    keys = KeySet(issuer.url, "http://127.0.0.1:4566/jwks", fetch=issuer.fetch, clock=Clock())
    assert keys.find("rsa-1")
    assert issuer.asked == ["http://127.0.0.1:4566/jwks"]


def test_a_token_need_not_name_its_key_where_there_is_only_one(issuer):
    keys = KeySet(issuer.url, fetch=issuer.fetch, clock=Clock())
    assert keys.find(None) is None
    issuer.keys.pop()
    single = KeySet(issuer.url, fetch=issuer.fetch, clock=Clock())
    assert single.find(None) is single.find("rsa-1")


def test_an_unknown_key_name_is_looked_up_again_but_not_more_often_than_allowed(issuer):
    # Given keys that are known
    clock = Clock()
    keys = KeySet(issuer.url, "http://jwks", fetch=issuer.fetch, clock=clock, min_interval=5)
    keys.find("rsa-1")
    # When many tokens name keys that nobody knows
    for n in range(100):
        assert keys.find(f"unknown-{n}") is None
    # Then the issuer is left alone
    assert len(issuer.asked) == 1
    # And a rotated key is picked up once the interval is over
    issuer.keys.append(public_jwk(OTHER_RSA_KEY, "rsa-2"))
    clock.now += 6
    assert keys.find("rsa-2")
    assert len(issuer.asked) == 2


def test_keys_are_refetched_when_old_and_a_withdrawn_one_goes(issuer):
    clock = Clock()
    keys = KeySet(issuer.url, "http://jwks", fetch=issuer.fetch, clock=clock, max_age=900)
    keys.find("rsa-1")
    issuer.keys = [public_jwk(EC_KEY, "ec-1")]
    clock.now += 899
    assert keys.find("rsa-1")
    clock.now += 2
    assert keys.find("rsa-1") is None


def test_the_last_keys_serve_on_while_the_issuer_is_down(issuer):
    clock = Clock()
    keys = KeySet(issuer.url, "http://jwks", fetch=issuer.fetch, clock=clock)
    keys.find("rsa-1")
    issuer.down = True
    clock.now += 100_000
    assert keys.find("rsa-1")
    assert keys.find("unknown") is None


def test_without_any_keys_the_caller_is_told_to_come_back_and_later_succeeds(issuer):
    clock = Clock()
    issuer.down = True
    keys = KeySet(issuer.url, "http://jwks", fetch=issuer.fetch, clock=clock)
    for _ in range(10):
        with pytest.raises(Unavailable) as refused:
            keys.find("rsa-1")
    assert refused.value.retry_after
    assert len(issuer.asked) == 1
    issuer.down = False
    clock.now += 6
    assert keys.find("rsa-1")


def test_parallel_first_callers_share_one_fetch(issuer):
    # Given a fetch that does not answer until all callers have arrived
    callers, release = 8, threading.Event()

    def slow(url):
        assert release.wait(10)
        return issuer.fetch(url)

    keys = KeySet(issuer.url, "http://jwks", fetch=slow)
    found = []
    threads = [threading.Thread(target=lambda: found.append(keys.find("rsa-1"))) for _ in range(callers)]
    for thread in threads:
        thread.start()
    release.set()
    for thread in threads:
        thread.join(10)
    # Then
    assert len(found) == callers
    assert all(found)
    assert len(issuer.asked) == 1


def test_others_do_not_wait_while_one_refreshes_old_keys(issuer):
    # Given old keys, and a refresh that hangs
    clock, hanging, release = Clock(), threading.Event(), threading.Event()

    def fetch(url):
        if issuer.asked:
            hanging.set()
            assert release.wait(10)
        return issuer.fetch(url)

    keys = KeySet(issuer.url, "http://jwks", fetch=fetch, clock=clock)
    keys.find("rsa-1")
    clock.now += 1000
    first = threading.Thread(target=keys.find, args=("rsa-1",))
    first.start()
    assert hanging.wait(10)
    # When another caller comes, Then it is answered from the old keys
    assert keys.find("rsa-1")
    release.set()
    first.join(10)


@pytest.mark.parametrize("document", [[], {}, {"keys": None}, "text", None])
def test_what_is_no_key_set_is_not_used(issuer, document):
    with pytest.raises(Unavailable):
        KeySet(issuer.url, "http://jwks", fetch=lambda url: document).find("rsa-1")


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": "https://evil.example", "jwks_uri": "https://evil.example/keys"},
        {"issuer": Issuer().url},
        {"issuer": Issuer().url, "jwks_uri": "http://plain.example/keys"},
    ],
)
def test_discovery_that_does_not_fit_the_issuer_is_not_used(issuer, discovery):
    keys = KeySet(issuer.url, fetch=lambda url: discovery if "well-known" in url else {"keys": issuer.keys})
    with pytest.raises(Unavailable):
        keys.find("rsa-1")


SMALL = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # what must be refused


@pytest.mark.parametrize(
    "entry",
    [
        None,
        {"kid": "x"},
        {"kid": "x", "kty": "oct", "k": "c2VjcmV0"},
        public_jwk(RSA_KEY, "x", use="enc"),
        public_jwk(RSA_KEY, "x", alg="RS512"),
        public_jwk(RSA_KEY, "x", n="???"),
        public_jwk(ec.generate_private_key(ec.SECP384R1()), "x"),
        public_jwk(SMALL, "x"),
    ],
)
def test_keys_of_other_kinds_are_left_out(entry):
    assert usable_key(entry) is None


@pytest.fixture
def web():
    """A small web server on loopback whose `/moved` points to `/keys`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/moved":
                self.send_response(302)
                self.send_header("Location", "/keys")
                self.end_headers()
                return
            body = json.dumps({"keys": [public_jwk(RSA_KEY, "rsa-1")]}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_keys_come_over_http_and_redirects_are_not_followed(web):
    assert KeySet("iss", web + "/keys").find("rsa-1")
    with pytest.raises(OSError, match="302"):
        fetch_json(web + "/moved")
    with pytest.raises(ValueError, match="not an http"):
        fetch_json("file:///etc/passwd")


def test_a_verifier_without_a_reachable_issuer_is_unavailable_not_unauthenticated(issuer):
    issuer.down = True
    with pytest.raises(Unavailable):
        issuer.verifier().verify(issuer.sign(issuer.id_claims()))
    with pytest.raises(Unauthenticated):
        issuer.verifier().verify("not.a.token")

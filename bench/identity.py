"""What does it cost to know who calls? Token checks in process; and, with --cloud, calls of the REST API.

  python bench/identity.py [--cloud STATE_FOLDER_OF_A_RUNNING_LOCAL_CLOUD]

In process: a token seen before, a new sign-in (RS256, ES256), a new API token whose row a store in memory gives (the
read of DynamoDB is not our work), and how often a cold verifier fetches the issuer's keys for parallel first callers.
The peer of a new sign-in is PyJWT's `decode` alone on the same token.

With --cloud: warm calls through the authorizer beside warm calls of a public route. Prints ratios and, for each target,
whether it is met; exits 1 when one is not.
"""

import argparse
import hashlib
import statistics
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jwt
from lisa.identity import IdentitySettings, TokenVerifier
from lisa.identity.keys import KeySet
from lisa.tokens.format import new_token
from lisa.tokens.lookup import ApiTokens
from lisa.tokens.record import ApiToken

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.unit.identity.issuer import CLIENT, EC_KEY, RSA_KEY, Issuer

ROUNDS, BATCH, WARM_CALLS = 7, 400, 100
SEEN_MS, NEW_MS, REST_RATIO, CALLERS = 0.02, 0.3, 1.1, 32


class Rows:
    def __init__(self) -> None:
        self.rows: dict[str, ApiToken] = {}

    def add(self) -> str:
        token = new_token()
        digest = hashlib.sha256(token.encode()).hexdigest()
        later = int(time.time()) + 3600
        self.rows[digest] = ApiToken(digest, digest[:36], "n", "alice", ("user",), False, 0, "alice", later)
        return token

    def by_digest(self, digest: str) -> ApiToken | None:
        return self.rows.get(digest)

    def mark_used(self, uuid: str, at: int, expires_at: int) -> None:
        pass


def milliseconds(work: Callable[[Any], Any], batches: list[list[Any]]) -> float:
    """The median over batches of the mean CPU time for one item; none of the work waits for anything."""
    times = []
    for batch in batches:
        begun = time.thread_time()
        for item in batch:
            work(item)
        times.append((time.thread_time() - begun) / len(batch) * 1000)
    return statistics.median(times)


def in_process() -> bool:
    issuer, rows = Issuer(), Rows()

    def verifier() -> TokenVerifier:
        settings = IdentitySettings(issuer=issuer.url, client_id=CLIENT)
        keys = KeySet(issuer.url, "http://keys", fetch=issuer.fetch)
        return TokenVerifier(settings, keys=keys, api_tokens=ApiTokens(lambda: rows))

    def signed(n: int, **how: Any) -> list[str]:
        return [issuer.sign(issuer.id_claims(jti=str(i)), **how) for i in range(n)]

    size = ROUNDS * BATCH
    kinds = {
        "sign-in, RS256": signed(size, key=RSA_KEY),
        "sign-in, ES256": signed(size, key=EC_KEY, kid="ec-1", alg="ES256"),
        "API token": [rows.add() for _ in range(size)],
    }
    print(f"{'check of':<24}{'ms':>9}{'target':>9}{'met':>6}{'x PyJWT alone':>16}")
    good = True
    for name, tokens in kinds.items():
        check = verifier()
        check.verify(issuer.sign(issuer.id_claims()))  # the keys are there
        batches = [tokens[start : start + BATCH] for start in range(0, size, BATCH)]
        new = milliseconds(check.verify, batches)
        seen = milliseconds(check.cached, [[token.encode() for token in batch] for batch in batches])
        ratio = ""
        if name.startswith("sign-in"):
            key, algorithm = (RSA_KEY, "RS256") if "RS" in name else (EC_KEY, "ES256")
            alone: Any = partial(
                jwt.decode, key=key.public_key(), algorithms=[algorithm], options={"verify_aud": False}
            )
            peer = milliseconds(alone, batches)
            ratio = f"{new / peer:.2f}"
        for what, value, target, extra in (("new", new, NEW_MS, ratio), ("seen", seen, SEEN_MS, "")):
            met = value <= target
            good &= met
            label = f"{name}, {what}"
            print(f"{label:<24}{value:>9.4f}{target:>9}{'yes' if met else 'NO':>6}{extra:>16}")
    fetches = cold_start(issuer)
    print(f"fetches of keys for {CALLERS} parallel first callers: {fetches} (target 1)")
    return good and fetches <= 1


def cold_start(issuer: Issuer) -> int:
    """How often the keys are fetched, by an issuer that takes 0.1 s to answer."""
    fetched = []

    def fetch(url: str) -> Any:
        fetched.append(url)
        time.sleep(0.1)
        return issuer.fetch(url)

    settings = IdentitySettings(issuer=issuer.url, client_id=CLIENT)
    verifier = TokenVerifier(settings, keys=KeySet(issuer.url, "http://keys", fetch=fetch))
    together = threading.Barrier(CALLERS)

    def call(token: str) -> None:
        together.wait()
        verifier.verify(token)

    tokens = [issuer.sign(issuer.id_claims(jti=f"cold-{i}")) for i in range(CALLERS)]
    threads = [threading.Thread(target=call, args=(token,)) for token in tokens]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(fetched)


def through_the_authorizer(state: Path) -> bool:
    """Warm calls in turns: of a route with the authorizer, whose verdict API Gateway keeps, and of one without.

    Neither function reads a table for them: one finds no token of that name, the other hands out a document.
    """
    from lisa_local.bringup.users import Directory
    from lisa_local.cloud import LocalCloud
    from lisa_local.home import Home

    cloud = LocalCloud(Home(state))
    token = Directory(cloud).token("admin")
    ways = {"authorised": ("/api/api-tokens/none", token, 404), "public": ("/api/openapi.json", None, 200)}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(WARM_CALLS + 5):
        for name, (path, sent, status) in ways.items():
            begun = time.perf_counter()
            answer = cloud.call("GET", path, token=sent)
            seconds = time.perf_counter() - begun
            if answer.status != status:
                sys.exit(f"{path} answered {answer.status}")
            if turn >= 5:
                times[name].append(seconds)
    ratio = statistics.median(times["authorised"]) / statistics.median(times["public"])
    met = ratio <= REST_RATIO
    print(
        f"REST call, warm, through the authorizer: {ratio:.2f} x a public route "
        f"({'meets' if met else 'MISSES'} {REST_RATIO})"
    )
    return met


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cloud", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    good = in_process()
    if options.cloud:
        good &= through_the_authorizer(options.cloud)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()

from lisa.audit.event import Origin
from lisa.audit.signins import REFUSALS_A_MINUTE, SEEN, SignIns
from lisa.errors import Forbidden, Unauthenticated, Unavailable
from lisa.identity.principal import Principal

NOW = 1_795_467_600.0
PERSON = Principal(user="alice", groups=frozenset(), is_admin=False, expires_at=NOW + 60)
TOKEN = Principal(user="alice", groups=frozenset(), is_admin=False, expires_at=NOW + 60, token_id="t-1")


def origin(address="192.0.2.1"):
    return Origin("api", "r", address, "agent")


class Door:
    def __init__(self):
        self.now, self.told = NOW, []
        self.sign_ins = SignIns(self.told.append, clock=lambda: self.now)


def test_one_token_gives_one_event_at_each_door_and_both_have_one_id():
    # Given two processes that know nothing of each other
    first, second = Door(), Door()
    # When both see the same token twice
    for door in (first, second):
        for _ in range(2):
            door.sign_ins.accepted("secret.token", PERSON, origin())
    # Then each tells it once, and the table will take it once
    assert len(first.told) == len(second.told) == 1
    assert first.told[0].id == second.told[0].id
    assert "secret.token" not in str(first.told)


def test_another_token_is_another_sign_in():
    door = Door()
    door.sign_ins.accepted("one", PERSON, origin())
    door.sign_ins.accepted("two", PERSON, origin())
    assert len({event.id for event in door.told}) == 2


def test_an_api_token_is_told_once_a_day():
    door = Door()
    for seconds in (0, 60, 86_400):
        door.now = NOW + seconds
        door.sign_ins.accepted("lisa_x", TOKEN, origin())
    assert len(door.told) == 2
    assert door.told[0].detail()["actor"] == {"user": "alice", "tokenId": "t-1", "kind": "api-token"}


def test_what_is_remembered_is_bounded():
    door = Door()
    for number in range(SEEN + 10):
        door.sign_ins.accepted(str(number), PERSON, origin())
    assert len(door.sign_ins._seen) == SEEN


def test_refusals_are_told_once_for_an_address_a_reason_and_a_minute():
    door = Door()
    for seconds in (0, 1, 2, 60):
        door.now = NOW + seconds
        door.sign_ins.refused(Unauthenticated("expired"), origin())
    door.sign_ins.refused(Forbidden("outside"), origin())
    assert [(event.error, event.status) for event in door.told] == [
        ("expired", 401),
        ("expired", 401),
        ("outside", 403),
    ]


def test_a_flood_from_many_addresses_is_bounded():
    door = Door()
    for number in range(10 * REFUSALS_A_MINUTE):
        door.sign_ins.refused(Unauthenticated("expired"), origin(f"192.0.2.{number}"))
    assert len(door.told) == REFUSALS_A_MINUTE
    door.now = NOW + 60
    door.sign_ins.refused(Unauthenticated("expired"), origin())
    assert len(door.told) == REFUSALS_A_MINUTE + 1


def test_that_a_token_could_not_be_checked_is_no_refusal():
    door = Door()
    door.sign_ins.refused(Unavailable("away"), origin())
    assert door.told == []

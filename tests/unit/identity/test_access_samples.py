"""The access matrix (tests/integration/test_access_matrix.py) must be able to call every route."""

from lisa.identity import RULES

from tests.access.samples import sample_for, without_a_rule


def test_every_rule_has_a_harmless_call():
    for rule in RULES:
        sample_for(rule)


def test_no_call_is_of_a_route_that_is_gone():
    assert without_a_rule() == set()

import pytest
from lisa.errors import Unavailable


def test_a_model_keeps_the_priority_that_it_took(priorities):
    first = priorities.take("m1")
    assert priorities.take("m1") == first
    assert priorities.take("m2") != first


def test_a_priority_that_was_given_back_is_free(priorities):
    taken = priorities.take("m1")
    priorities.take("m2")
    priorities.give_back("m1")
    priorities.give_back("m1")
    assert priorities.take("m3") == taken


def test_who_looked_before_another_took_gets_the_next_one(priorities, monkeypatch):
    # Given a look at a table in which nothing is taken yet
    monkeypatch.setattr(priorities, "_held", dict)
    first = priorities.take("m1")

    # When
    second = priorities.take("m2")

    # Then
    monkeypatch.undo()
    assert first != second
    assert (priorities.take("m1"), priorities.take("m2")) == (first, second)


def test_a_full_load_balancer_is_said_so(priorities, monkeypatch):
    monkeypatch.setattr("lisa.models.priorities.MODELS_PER_BALANCER", 2)
    for number in range(2):
        priorities.take(f"m{number}")
    with pytest.raises(Unavailable, match="delete a hosted model"):
        priorities.take("one-more")

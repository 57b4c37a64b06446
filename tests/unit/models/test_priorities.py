from concurrent.futures import ThreadPoolExecutor

import pytest
from lisa.errors import Unavailable
from lisa.models.priorities import MODELS_PER_BALANCER


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


def test_no_two_models_get_one_priority_at_once(priorities):
    names = [f"m{number}" for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(priorities.take, names))
    assert len(set(taken)) == len(names)


def test_a_full_load_balancer_is_said_so(priorities):
    for number in range(MODELS_PER_BALANCER):
        priorities.take(f"m{number}")
    with pytest.raises(Unavailable, match="delete a hosted model"):
        priorities.take("one-more")

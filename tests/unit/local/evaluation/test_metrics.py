"""Figures worked out by hand."""

import math

import pytest
from lisa_local.evaluation.metrics import ndcg, percentile, recall


def test_ndcg_of_a_ranking_worked_out_by_hand():
    # Given relevant documents a and c, found at ranks 1 and 3, and one that was not found
    judgements = {"a": 1, "c": 1, "z": 1, "b": 0}
    # Then DCG = 1/log2(2) + 1/log2(4) = 1.5, and the ideal 1/log2(2) + 1/log2(3) + 1/log2(4) = 2.1309
    assert ndcg(["a", "b", "c"], judgements, 10) == pytest.approx(1.5 / (1.5 + 1 / math.log2(3)))
    assert ndcg(["a", "b", "c"], judgements, 10) == pytest.approx(0.70392, abs=1e-5)


def test_ndcg_takes_judgements_as_gains():
    # DCG = 1/1 + 3/log2(3) = 2.8928; ideal = 3/1 + 1/log2(3) = 3.6309
    assert ndcg(["a", "b"], {"a": 1, "b": 3}, 10) == pytest.approx(0.79670, abs=1e-4)
    assert ndcg(["b", "a"], {"a": 1, "b": 3}, 10) == 1.0


def test_only_the_first_k_count_for_both_sums():
    # One of 12 relevant documents first, then none: 1 / sum(1/log2(i+1), i = 1..10) = 1 / 4.5436
    judgements = {f"r{number}": 1 for number in range(12)}
    ranking = ["r0", *(f"x{number}" for number in range(9)), "r1"]
    assert ndcg(ranking, judgements, 10) == pytest.approx(0.22009, abs=1e-5)
    assert recall(ranking, judgements, 10) == pytest.approx(1 / 12)
    assert recall(ranking, judgements, 11) == pytest.approx(2 / 12)


def test_nothing_found_and_nothing_relevant_are_zero():
    assert (ndcg([], {"a": 1}, 10), recall([], {"a": 1}, 10)) == (0.0, 0.0)
    assert (ndcg(["a"], {"a": 0}, 10), recall(["a"], {}, 10)) == (0.0, 0.0)


def test_percentiles_are_values_that_were_measured():
    values = [5.0, 1.0, 3.0, 2.0, 4.0]
    assert (percentile(values, 0.5), percentile(values, 0.95), percentile([7.0], 0.5)) == (3.0, 5.0, 7.0)

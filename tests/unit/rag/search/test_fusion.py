import pytest
from lisa.rag.search.fusion import fuse, lexical_score, one_arm
from lisa.rag.search.neighbours import DEPTH, regularise
from lisa.rag.vectors.base import Arms

from tests.unit.rag.search.places import hit


def names(candidates) -> list[str]:
    return [each.hit.document.name.removesuffix(".txt") for each in candidates]


def test_the_fused_score_is_the_mean_of_both_arms_on_one_scale():
    # Given cosines of 0.8 and 0.4, and BM25 of 10 (a half) and 30 (three quarters)
    arms = Arms(dense=(hit("a", 0.8), hit("b", 0.4)), lexical=(hit("b", 30.0), hit("a", 10.0)))
    # When
    first, second = fuse(arms, limit=10)
    # Then
    assert (names([first]), first.fused) == (["a"], pytest.approx((0.8 + 0.5) / 2))
    assert (names([second]), second.fused) == (["b"], pytest.approx((0.4 + 0.75) / 2))
    assert (first.dense_rank, first.lexical_rank, second.dense_rank, second.lexical_rank) == (1, 2, 2, 1)
    assert (first.dense, first.lexical) == (0.8, 10.0)


def test_what_a_full_arm_did_not_find_is_given_the_score_of_its_last():
    arms = Arms(dense=(hit("a", 0.8), hit("b", 0.4)), lexical=(hit("c", 30.0), hit("a", 10.0)))
    found = {name: each.fused for name, each in zip("acb", fuse(arms, limit=2), strict=True)}
    assert found["b"] == pytest.approx((0.4 + 0.5) / 2)
    assert found["c"] == pytest.approx((0.4 + 0.75) / 2)


def test_what_an_arm_did_not_find_although_it_had_room_scores_nothing_there():
    arms = Arms(dense=(hit("a", 0.8),), lexical=(hit("c", 30.0),))
    assert [each.fused for each in fuse(arms, limit=2)] == pytest.approx([0.4, 0.375])


@pytest.mark.parametrize("cosine", [-0.9, 0.0])
def test_scores_lie_between_0_and_1_whatever_the_arms_say(cosine):
    arms = Arms(dense=(hit("a", 1.0000001), hit("b", cosine)), lexical=(hit("a", 1e9),))
    best, last = fuse(arms, limit=2)
    assert best.score <= 1
    assert last.score == 0


def test_one_chunk_in_both_arms_is_one_candidate_and_two_chunks_of_a_document_are_two():
    arms = Arms(
        dense=(hit("a", 0.8), hit("a", 0.5, ordinal=1)), lexical=(hit("a", 10.0), hit("a", 5.0, ordinal=1))
    )
    assert [each.hit.chunk.ordinal for each in fuse(arms, limit=10)] == [0, 1]


def test_equals_keep_one_order():
    arms = Arms(dense=(hit("b", 0.5), hit("a", 0.5), hit("c", 0.5)))
    assert names(fuse(arms, limit=10)) == names(one_arm(arms)) == ["b", "a", "c"]


def test_an_arm_alone_keeps_its_order_on_the_scale_of_the_fused_score():
    found = one_arm(Arms(lexical=(hit("a", 30.0), hit("b", 10.0))))
    assert [(each.score, each.lexical_rank) for each in found] == [(0.75, 1), (0.5, 2)]
    assert lexical_score(0.0) == 0


def test_neighbours_that_fit_lift_a_chunk_over_one_that_stands_alone():
    # Given two near the top that share no words, and three others about wings that fit
    wings = "swept wing lift at supersonic speed"
    arms = Arms(
        dense=(
            hit("alone", 0.60, "cooking of lentils"),
            hit("wing-1", 0.58, wings),
            hit("wing-2", 0.57, f"{wings} theory"),
            hit("wing-3", 0.56, f"{wings} experiments"),
            hit("other", 0.10, "lentils with rice"),
        ),
        lexical=(),
    )
    # When
    found = regularise(fuse(arms, limit=10))
    # Then
    assert sorted(names(found[:3])) == ["wing-1", "wing-2", "wing-3"]
    assert names(found[3:]) == ["alone", "other"]
    assert all(0 <= each.score <= 1 for each in found)
    assert [each.score for each in found] == sorted((each.score for each in found), reverse=True)


def test_a_clear_winner_stays_first_among_others_that_support_each_other():
    wings = "swept wing lift at supersonic speed"
    arms = Arms(
        dense=(
            hit("answer", 0.8, "the code of the safe is 4711"),
            *(hit(f"wing-{number}", 0.3, f"{wings} {number}") for number in range(20)),
        ),
        lexical=(hit("answer", 20.0, "the code of the safe is 4711"),),
    )
    assert names(regularise(fuse(arms, limit=100)))[0] == "answer"


def test_chunks_of_one_document_are_no_neighbours():
    arms = Arms(dense=(hit("a", 0.8, "same words"), hit("a", 0.2, "same words here", ordinal=1)))
    assert [each.score for each in regularise(fuse(arms, limit=10))] == pytest.approx([0.4, 0.1])


def test_what_is_like_no_other_keeps_its_score():
    arms = Arms(dense=(hit("a", 0.8, "lentils", heading=()), hit("b", 0.2, "wings", heading=())))
    assert [each.score for each in regularise(fuse(arms, limit=10))] == pytest.approx([0.4, 0.1])


def test_the_better_of_two_neighbours_stays_the_better():
    arms = Arms(dense=(hit("a", 0.8, "red wings"), hit("b", 0.79, "red wings, too")))
    first, second = regularise(fuse(arms, limit=10))
    assert (names([first]), first.score > second.score) == (["a"], True)


def test_what_is_below_the_depth_stays_below():
    dense = tuple(hit(f"n{number:03}", 0.9 - number / 1000, "word " * 3) for number in range(DEPTH + 20))
    found = regularise(fuse(Arms(dense=dense), limit=200))
    assert len(found) == DEPTH + 20
    assert names(found[DEPTH:]) == [f"n{number:03}" for number in range(DEPTH, DEPTH + 20)]
    scores = [each.score for each in found]
    assert scores == sorted(scores, reverse=True)


def test_nothing_found_is_nothing():
    assert regularise(fuse(Arms(), limit=10)) == []

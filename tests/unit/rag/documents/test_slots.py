from concurrent.futures import ThreadPoolExecutor

from lisa.rag.documents.slots import SlotStore


def test_no_more_are_taken_than_there_are(dynamodb):
    slots = SlotStore("documents", dynamodb, slots=3)
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda n: slots.take(f"e-{n}", now=1), range(8)))
    assert sum(taken) == 3
    assert len(slots.taken()) == 3


def test_a_holder_takes_one_only_and_gives_back_its_own_only(dynamodb):
    slots = SlotStore("documents", dynamodb, slots=2)
    assert slots.take("a", now=1)
    assert slots.take("a", now=2)
    assert slots.take("b", now=1)
    assert not slots.take("c", now=1)
    slots.give_back("a")
    assert [slot.holder for slot in slots.taken()] == ["b"]
    assert slots.take("c", now=3)

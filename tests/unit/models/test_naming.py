import re

from lisa.models import naming


def test_names_differ_where_ids_differ_and_fit_aws():
    ids = ["my-model", "mymodel", "my_model", "My-Model", "a", "x" * 64]
    shorts = {naming.short_name(model_id) for model_id in ids}
    assert len(shorts) == len(ids)
    assert all(re.fullmatch(r"[a-z2-7]{12}", short) for short in shorts)


def test_the_same_id_always_has_the_same_names():
    # Written down, because a change of the hash would orphan every stack that is there.
    assert naming.short_name("smollm2-135m") == "kwmf7ltvi7fx"
    assert naming.stack_name("lisa", "m1") == f"lisa-model-{naming.short_name('m1')}"
    assert naming.host_header("m1") == f"{naming.short_name('m1')}.models.internal"
    assert naming.log_group("lisa", "m1") == f"/lisa/models/{naming.short_name('m1')}"
    assert naming.secret_name("lisa", "m1") == f"lisa/models/{naming.short_name('m1')}"


def test_an_execution_name_tells_wish_and_attempt_apart_and_fits():
    names = {
        naming.execution_name("m1", g, a) for g in (1_700_000_000_000, 1_700_000_000_001) for a in (1, 2)
    }
    assert len(names) == 4
    assert all(len(name) <= 80 and re.fullmatch(r"[a-z0-9-]+", name) for name in names)

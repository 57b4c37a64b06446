import random

import pytest
from lisa.errors import InvalidRequest
from lisa.rag.documents import naming


@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("library/c-1/a.txt", ("library", "c-1", "a.txt")),
        ("library/Case%20Law/2024/a%20b.txt", ("library", "Case Law", "2024/a%20b.txt")),
        ("library/a.txt", ("library", "", "a.txt")),
        ("library/50%25/a.txt", ("library", "50%", "a.txt")),
    ],
)
def test_a_dropped_files_key_says_where_it_belongs(key, place):
    found = naming.place_of(key)
    assert found is not None
    assert (found.repository_id, found.collection, found.path) == place


@pytest.mark.parametrize(
    "key", ["a.txt", "/a.txt", "library/", "library/c-1/", "_work/x/y", "library//a.txt"]
)
def test_other_keys_say_nothing(key):
    assert naming.place_of(key) is None


def test_versions_sort_as_s3_says_and_ours_fit_between():
    # S3 pads the shorter one on the right.
    versions = ["0055AED6DCD90281E5", "0055AED6DCD90281E6", "0055AED6DD", "0055AED6DD01"]
    padded = [naming.sequencer(each) for each in versions]
    shuffled = random.Random(1).sample(padded, len(padded))
    assert sorted(shuffled) == padded
    after = naming.following(padded[0])
    again = naming.following(after)
    assert padded[0] < after < again < padded[1]
    assert naming.sequencer("0055aed6dcd90281e5") == padded[0]


@pytest.mark.parametrize("value", ["", "xyz", "0" * 41, "12 34"])
def test_no_other_text_is_a_sequencer(value):
    with pytest.raises(ValueError, match="sequencer"):
        naming.sequencer(value)


def test_what_several_pipelines_make_of_an_object_are_several_documents():
    ids = {
        naming.document_id("b", "k"),
        naming.document_id("b", "k", "library/p1"),
        naming.document_id("b", "k", "library/p2"),
        naming.document_id("b2", "k"),
    }
    assert len(ids) == 4
    assert naming.document_id("b", "k") in ids


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\\b", "a\nb", "x" * 256, "é" * 128, "${filename}"])
def test_names_that_no_file_may_have(name):
    with pytest.raises(InvalidRequest):
        naming.upload_key("ann", name)


def test_a_users_folder_is_one_folder_whatever_they_are_called():
    assert naming.upload_key("a/../b", "x.txt").startswith("_uploads/a%2F..%2Fb/")
    assert len(naming.upload_key("ä" * 200, "x" * 255)) < naming.MAX_KEY
    assert naming.user_folder("ä" * 200) != naming.user_folder("ä" * 201)
    # Nobody is called as another's long name is shortened.
    shortened = naming.user_folder("ä" * 200)
    assert naming.user_folder(shortened) != shortened


def test_an_upload_is_known_by_its_key():
    assert naming.is_upload(naming.drop_key("library", "c 1", "ann", "x/a.txt"))
    assert not naming.is_upload("library/c-1/ann/x/a.txt")
    assert not naming.is_upload("library/c-1/notes~.txt")
    assert not naming.is_upload("library/c-1/~$lock.docx")


def test_nobody_drops_a_file_onto_anothers():
    assert naming.drop_key("library", "c-1", "ann", "a.txt") != naming.drop_key(
        "library", "c-1", "bob", "a.txt"
    )
    place = naming.place_of(naming.drop_key("library", "c 1", "ann", "x/a.txt"))
    assert place == naming.Place("library", "c 1", "~ann/x/a.txt")

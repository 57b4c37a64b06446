"""What objects in S3 are called, and what their names say: collections, documents, versions."""

import hashlib
import re
import uuid
from dataclasses import dataclass
from urllib.parse import quote, unquote

from lisa.errors import InvalidRequest

UPLOADS = "_uploads/"
# Files that wait for nothing and stay until they are deleted.
FILES = "_files/"
WORK = "_work/"
# S3's own limit for a key, in bytes.
MAX_KEY = 1024
_DOCUMENTS = uuid.UUID("8f1c0f0e-6f6e-5c0e-9a53-0f2f4f2f6d11")
# Hexadecimal digits of a version. S3 gives 16 to 18; all of ours are as long, so that they compare as text.
_SEQUENCER_DIGITS = 40
_SEQUENCER = re.compile(r"[0-9A-Fa-f]{1,40}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Place:
    """What the key of a dropped file says. An empty `collection` means the repository's default one."""

    repository_id: str
    collection: str
    path: str


def place_of(key: str) -> Place | None:
    """`<repository>/<collection>/<any/path>` or `<repository>/<file>`; None for a key that says neither.

    The collection is named by its id, or by its name percent-encoded.
    """
    repository, slash, rest = key.partition("/")
    if not slash or not repository or repository.startswith("_"):
        return None
    collection, slash, path = rest.partition("/")
    if not slash:
        collection, path = "", rest
    if not path or path.endswith("/") or (slash and not collection):
        return None
    return Place(repository, unquote(collection), path)


def is_folder(key: str) -> bool:
    """Consoles make empty objects whose keys end with a slash to show a folder: no files."""
    return key.endswith("/")


def is_upload(key: str) -> bool:
    """Whether a key of the drop folder has a folder with a `~`, as those of `drop_key`; stacks/rag.yaml tells alike."""
    return "/" in key.partition("/~")[2]


def document_id(bucket: str, key: str, pipeline: str = "") -> str:
    """The id of the document that an object is, the same whenever it is asked for.

    `pipeline` (`<repository>/<pipeline>`) tells apart what several pipelines make of one object; a file in the drop
    folder has none.
    """
    return str(uuid.uuid5(_DOCUMENTS, "\n".join((bucket, key, pipeline))))


def job_id(document: str, sequencer: str) -> str:
    """The id of the job for a version of a document that nobody has made a job for."""
    return str(uuid.uuid5(_DOCUMENTS, f"job\n{document}\n{sequencer}"))


def sequencer(value: str) -> str:
    """S3's `sequencer` as text that sorts as the versions do. Raises ValueError for what is no hexadecimal number.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html: the shorter of two is
    padded with zeros on the right.
    """
    if not _SEQUENCER.fullmatch(value):
        raise ValueError(f"{value[:60]!r} is no sequencer")
    return value.upper().ljust(_SEQUENCER_DIGITS, "0")


def sequencer_at(milliseconds: int) -> str:
    """For an object of which no event was seen: by when it was last changed, in epoch milliseconds."""
    return sequencer(f"{milliseconds:014X}")


def following(version: str) -> str:
    """A version right after this one, and before every later one of S3's."""
    base, _, count = version.partition(".")
    return f"{base}.{int(count or 0) + 1:06d}"


def source(bucket: str, key: str) -> str:
    return f"s3://{bucket}/{key}"


def split_source(address: str) -> tuple[str, str]:
    """Bucket and key of an `s3://` address."""
    bucket, _, key = address.removeprefix("s3://").partition("/")
    return bucket, key


def name_of(key: str) -> str:
    return key.rsplit("/", 1)[-1]


def file_name(value: str) -> str:
    """The name under which a file may be uploaded. Raises InvalidRequest saying what is wrong with it."""
    name = value.strip()
    if not name or name in (".", ".."):
        raise InvalidRequest("The file has no name: send it as the body.", field="name")
    if "/" in name or "\\" in name or _CONTROL.search(name):
        raise InvalidRequest("A file's name holds no slash, backslash or control character.", field="name")
    if len(name.encode()) > 255:
        raise InvalidRequest("The file's name is longer than 255 bytes.", field="name")
    if "${" in name:
        # S3 would put something else in the place of ${filename} in the key of a form.
        raise InvalidRequest("A file's name does not hold ${.", field="name")
    return name


def user_folder(user: str) -> str:
    """A user's part of a key. Names too long for one are known by their hash, behind a `!`, which no name keeps."""
    folder = quote(user, safe="")
    if len(folder) > 200:
        folder = "!" + hashlib.sha256(user.encode()).hexdigest()
    return folder


def upload_folder(user: str) -> str:
    """Where a user's uploads wait; what is not used expires."""
    return f"{UPLOADS}{user_folder(user)}/"


def files_folder(user: str) -> str:
    return f"{FILES}{user_folder(user)}/"


def upload_key(user: str, name: str) -> str:
    return f"{upload_folder(user)}{uuid.uuid4()}/{file_name(name)}"


def drop_key(repository_id: str, collection_id: str, user: str, path: str) -> str:
    """Where an uploaded file is dropped: below its user, so that nobody replaces another's file of the same name.

    By the `~` its events are known for an upload's: stacks/rag.yaml gives them a queue of their own.
    """
    key = f"{repository_id}/{quote(collection_id, safe='')}/~{user_folder(user)}/{path}"
    if len(key.encode()) > MAX_KEY:
        raise InvalidRequest("The file's name is too long.", field="keys")
    return key

"""Where the files of vector stores lie in the drop folder, and which file a document there was made from."""

from urllib.parse import quote

from lisa.rag.documents import naming
from lisa.rag.openai.ids import file_id_of_document, is_file_id


def file_key(owner: str, file_id: str, name: str) -> str:
    """Where the bytes of a file of `/v1/files` lie until it is deleted."""
    return f"{naming.files_folder(owner)}{file_id}/{name}"


def drop_path(file_id: str, name: str) -> str:
    """Where a file that is put into a vector store is dropped below its owner's folder."""
    return f"{file_id}/{name}"


def drop_folder(bucket: str, repository_id: str, collection_id: str) -> str:
    """The `s3://` address of a vector store's own folder."""
    return naming.source(bucket, f"{repository_id}/{quote(collection_id, safe='')}/")


def file_id_of(*, repository_id: str, collection_id: str, document_id: str, source: str, owner: str) -> str:
    """The id of the file that a document was made from.

    Whoever writes to the bucket may choose a key that looks like another file's: only one below its owner's folder is
    believed, and owners are only given to what came through us.
    """
    key = naming.split_source(source)[1]
    folder, _, name = key.rpartition("/")
    file_id = folder.rpartition("/")[2]
    if owner and is_file_id(file_id):
        ours = naming.drop_key(repository_id, collection_id, owner, drop_path(file_id, name))
        if key == ours:
            return file_id
    return file_id_of_document(document_id)

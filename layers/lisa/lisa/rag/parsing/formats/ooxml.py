"""What Office's formats share: properties and relations between parts."""

import posixpath

from lisa.rag.parsing.archives import Archive
from lisa.rag.parsing.document import one_line
from lisa.rag.parsing.formats.xml import read

_TITLE = "{http://purl.org/dc/elements/1.1/}title"
_RELATION = "{http://schemas.openxmlformats.org/package/2006/relationships}Relationship"


def title(archive: Archive) -> str:
    if "docProps/core.xml" not in archive.names:
        return ""
    found = read(archive.read("docProps/core.xml")).find(_TITLE)
    return one_line(found.text or "") if found is not None else ""


def relations(archive: Archive, part: str) -> dict[str, tuple[str, str]]:
    """Of a part, by their ids: the kind of each (the last word of its type) and the part it leads to."""
    folder, _, name = part.rpartition("/")
    path = f"{folder}/_rels/{name}.rels"
    if path not in archive.names:
        return {}
    found: dict[str, tuple[str, str]] = {}
    for relation in read(archive.read(path)).iter(_RELATION):
        if relation.get("TargetMode") != "External":
            target = relation.get("Target", "")
            joined = (
                target.lstrip("/") if target.startswith("/") else posixpath.normpath(f"{folder}/{target}")
            )
            found[relation.get("Id", "")] = (relation.get("Type", "").rpartition("/")[2], joined)
    return found

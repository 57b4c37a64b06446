"""The programs of an OpenSearch node: fetched by Maven, checked, laid out as a distribution lays them out.

`artifacts.txt` names each file: its SHA-256, its folder, its Maven coordinates. The folder they make lies in the
user's cache, so that it is fetched once for all checkouts and state folders.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from lisa_local.component import ComponentError

HERE = Path(__file__).parent
VERSION = "2.19.1"
OLDEST_JAVA = 17
FETCH_SECONDS = 600

_SOURCE = HERE / "LocalNode.java"
_ARTIFACTS = HERE / "artifacts.txt"
# The published jars of modules lack the descriptor by which a node finds their plugin: class, and what they extend.
_MODULES = {
    "analysis-common": ("org.opensearch.analysis.common.CommonAnalysisPlugin", "lang-painless"),
    "lang-painless": ("org.opensearch.painless.PainlessPlugin", ""),
    "mapper-extras": ("org.opensearch.index.mapper.MapperExtrasPlugin", ""),
    "reindex": ("org.opensearch.index.reindex.ReindexPlugin", ""),
    "transport-netty4": ("org.opensearch.transport.Netty4Plugin", ""),
}


@dataclass(frozen=True, slots=True)
class Artifact:
    sha256: str
    folder: str
    group: str
    name: str
    version: str
    kind: str = "jar"

    @property
    def path(self) -> Path:
        return Path(self.folder, f"{self.name}-{self.version}.{self.kind}")


@dataclass(frozen=True, slots=True)
class Java:
    """A development kit: the node's launcher is compiled."""

    java: str
    javac: str

    @classmethod
    def find(cls) -> Java:
        """That of `JAVA_HOME`, else the one on the PATH.

        Raises:
            ComponentError: there is none, or it is too old; says what to install.
        """
        folder = os.environ.get("JAVA_HOME")
        found = [shutil.which(name, path=f"{folder}/bin" if folder else None) for name in ("java", "javac")]
        if found[0] is None or found[1] is None:
            missing = "java" if found[0] is None else "javac"
            where = f"in JAVA_HOME={folder}" if folder else "on the PATH"
            raise ComponentError(
                f"OpenSearch needs a Java development kit of version {OLDEST_JAVA} or newer, and there is no "
                f"{missing} {where}: install one (Debian and Ubuntu: apt-get install openjdk-17-jdk-headless), "
                "or name a running OpenSearch by OPENSEARCH_URL."
            )
        kit = cls(found[0], found[1])
        version = kit.version()
        if version < OLDEST_JAVA:
            raise ComponentError(
                f"OpenSearch needs Java {OLDEST_JAVA} or newer, and {kit.java} is version {version}: install a "
                "newer one and name it by JAVA_HOME, or name a running OpenSearch by OPENSEARCH_URL."
            )
        return kit

    def version(self) -> int:
        """The feature release, 17 for instance; 0 when it does not say."""
        said = subprocess.run([self.java, "-version"], capture_output=True, text=True, check=False).stderr
        match = re.search(r'version "(?:1\.)?(\d+)', said)
        return int(match[1]) if match else 0


def require_tools() -> None:
    """Raises ComponentError with what is missing to run OpenSearch here, and how to get it."""
    Java.find()
    if not home().is_dir() and shutil.which("mvn") is None:
        raise ComponentError(
            "OpenSearch is fetched by Maven, and there is no mvn on the PATH: install it (Debian and Ubuntu: "
            "apt-get install maven), or name a running OpenSearch by OPENSEARCH_URL."
        )


def prepare() -> Path:
    """The node's home folder, fetched and laid out when it is not there yet.

    Raises:
        ComponentError: a tool is missing, Maven could not fetch, or a file is not the one that was agreed on.
    """
    target = home()
    if target.is_dir():
        return target
    require_tools()
    with _alone(target.parent):
        if not target.is_dir():
            with tempfile.TemporaryDirectory(dir=target.parent, prefix="partial-") as folder:
                stage = Path(folder, "home")
                _fetch(stage)
                _lay_out(stage)
                stage.rename(target)
    return target


def artifacts() -> list[Artifact]:
    found = []
    for line in _ARTIFACTS.read_text().splitlines():
        sha256, folder, coordinates = line.split()
        found.append(Artifact(sha256, folder, *coordinates.split(":")))
    return found


def home() -> Path:
    """Named by all that it is made of: a change here makes another."""
    digest = hashlib.sha256()
    for path in (HERE / "programs.py", _ARTIFACTS, _SOURCE, *sorted((HERE / "home").iterdir())):
        digest.update(path.read_bytes())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "lisa" / f"opensearch-{VERSION}-{digest.hexdigest()[:12]}"


@contextlib.contextmanager
def _alone(cache: Path) -> Iterator[None]:
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "opensearch.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(stage: Path) -> None:
    stage.mkdir()
    pom = stage / "pom.xml"
    pom.write_text(_pom(stage))
    command = ["mvn", "--batch-mode", "--quiet", "--file", str(pom), "dependency:copy@fetch"]
    try:
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=FETCH_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ComponentError(f"Maven did not fetch OpenSearch within {FETCH_SECONDS} s.") from None
    if result.returncode != 0:
        lines = [line for line in result.stdout.splitlines() if "ERROR" in line]
        raise ComponentError(f"Maven could not fetch OpenSearch: {' '.join(lines[:3]) or result.stderr}")
    pom.unlink()
    for artifact in artifacts():
        path = stage / artifact.path
        if hashlib.sha256(path.read_bytes()).hexdigest() != artifact.sha256:
            raise ComponentError(
                f"{path.name} from Maven is not the file that artifacts.txt names: not used."
            )


def _pom(stage: Path) -> str:
    items = "".join(
        f"<artifactItem><groupId>{item.group}</groupId><artifactId>{item.name}</artifactId>"
        f"<version>{item.version}</version><type>{item.kind}</type>"
        f"<outputDirectory>{escape(str(stage / item.folder))}</outputDirectory></artifactItem>\n"
        for item in artifacts()
    )
    return f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion>
<groupId>lisa</groupId><artifactId>opensearch</artifactId><version>1</version><packaging>pom</packaging>
<build><plugins><plugin>
<groupId>org.apache.maven.plugins</groupId><artifactId>maven-dependency-plugin</artifactId><version>3.6.1</version>
<executions><execution><id>fetch</id><goals><goal>copy</goal></goals><configuration><artifactItems>
{items}</artifactItems></configuration></execution></executions>
</plugin></plugins></build>
</project>
"""


def _lay_out(stage: Path) -> None:
    for name, (entry, extended) in _MODULES.items():
        (stage / "modules" / name / "plugin-descriptor.properties").write_text(
            f"name={name}\ndescription={name}\nversion={VERSION}\nopensearch.version={VERSION}\n"
            f"java.version=11\nclassname={entry}\nextended.plugins={extended}\nhas.native.controller=false\n"
        )
    for archive in (stage / "plugins").glob("*/*.zip"):
        with zipfile.ZipFile(archive) as content:
            content.extractall(archive.parent)
        archive.unlink()
    shutil.copytree(HERE / "home", stage / "config")
    command = [Java.find().javac, "--release", "17", "-d", str(stage / "launcher"), "-cp", f"{stage}/lib/*"]
    result = subprocess.run([*command, str(_SOURCE)], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ComponentError(f"javac could not compile the node's launcher: {result.stderr.strip()}")

"""Puts together what a layer holds: `build_layer.py LAYER python3.13-arm64 FOLDER`.

`lisa` is the package with what every function needs, `rag` what retrieval's functions need beside it.

Only wheels are installed, chosen by the target's tags, so any Python with pip builds for any target, without
a compiler or a container. The same sources give the same bytes: SAM names the upload by their hash, so that a
deploy without a change changes nothing.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
REQUIREMENTS = {"lisa": ROOT / "requirements" / "layer.txt", "rag": ROOT / "requirements" / "rag.txt"}
MODEL_TEMPLATE = ROOT / "containers" / "model" / "model.yaml"

MACHINES = {"x86_64": "x86_64", "arm64": "aarch64"}
# The C libraries of Lambda's images: Amazon Linux 2 has glibc 2.26, Amazon Linux 2023 has 2.34.
# https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html
GLIBC_MINORS = {"3.11": 26, "3.12": 34, "3.13": 34}

# Lambda's runtime brings these; a copy in the layer would only cost start-up time.
IN_THE_RUNTIME = ("boto3", "botocore", "s3transfer")
# Nothing reads these at run time, and RECORD would go stale by removing them.
NEEDLESS = ("__pycache__", "tests", "test", "*.pyi", "*.pyx", "*.c", "*.h", "RECORD", "INSTALLER")
# What Lambda takes of a function and its layers together, unpacked.
MAX_UNPACKED_BYTES = 250 * 1024 * 1024


def platforms(python: str, machine: str) -> list[str]:
    """The tags of the wheels that run there, the newest C library first."""
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC_MINORS[python], 16, -1)]
    return [*tags, f"manylinux2014_{machine}"]


def pins(requirements: str) -> dict[str, str]:
    """The requirements of a lock file by what each begins with, `name==version` and marker; with their hashes."""
    found = re.finditer(r"^(\S+==[^\\\n]+)(?:\\\n +--hash=\S+ ?)+$", requirements, re.MULTILINE)
    return {match[1].strip(): match[0] for match in found}


def requirements(layer: str) -> str:
    """What is installed into a layer: `rag` always lies beside `lisa` and need not repeat what is there."""
    own = pins(REQUIREMENTS[layer].read_text())
    there = {} if layer == "lisa" else pins(REQUIREMENTS["lisa"].read_text())
    return "\n".join(text for name, text in own.items() if name not in there)


def install(layer: str, python: str, machine: str, site: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "requirements.txt"
        wanted.write_text(requirements(layer))
        run_pip(wanted, python, machine, site)


def run_pip(wanted: Path, python: str, machine: str, site: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "--requirement", str(wanted), "--target", str(site), "--no-compile"]
    command += ["--only-binary", ":all:", "--implementation", "cp", "--python-version", python]
    for platform in platforms(python, machine):
        command += ["--platform", platform]
    subprocess.run(command, check=True)


def strip(site: Path) -> None:
    for name in IN_THE_RUNTIME:
        for path in [site / name, *site.glob(f"{name}-*.dist-info")]:
            shutil.rmtree(path, ignore_errors=True)
    # Console scripts, with this machine's interpreter in them
    shutil.rmtree(site / "bin", ignore_errors=True)
    for pattern in NEEDLESS:
        for path in list(site.rglob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            elif path.exists():
                path.unlink()


def add_lisa(site: Path) -> None:
    package = site / "lisa"
    shutil.copytree(HERE / "lisa" / "lisa", package, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    # The function that creates a model's stack passes this template on; it belongs to the model container.
    shutil.copyfile(MODEL_TEMPLATE, package / "models" / "model.yaml")


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main(layer: str, target: str, artifacts: Path) -> None:
    match = re.fullmatch(r"python(3\.\d+)-(x86_64|arm64)", target)
    if match is None or match[1] not in GLIBC_MINORS:
        sys.exit(f"{target} is no target of the layer: give e.g. python3.13-arm64.")
    site = artifacts / "python"
    shutil.rmtree(site, ignore_errors=True)
    install(layer, match[1], MACHINES[match[2]], site)
    strip(site)
    if layer == "lisa":
        add_lisa(site)
    print(f"layer {layer} for {target}: {size(site) / 1e6:.1f} MB unpacked")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))

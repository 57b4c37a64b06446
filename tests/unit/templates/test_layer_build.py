"""What the build of the layers takes, leaves out and refuses; the installation itself is pip's."""

from __future__ import annotations

import runpy
from importlib.metadata import PackagePath, distribution
from pathlib import Path

import pytest
from packaging.markers import Marker

from tests.unit.templates.application import ROOT, application

SCRIPT = ROOT / "layers/build_layer.py"
build = runpy.run_path(str(SCRIPT))


def test_every_target_that_parameters_allow_has_a_makefile() -> None:
    parameters = application().template["Parameters"]
    targets = {
        f"{runtime}-{architecture}"
        for runtime in parameters["PythonRuntime"]["AllowedValues"]
        for architecture in parameters["Architecture"]["AllowedValues"]
    }
    assert {path.parent.name for path in SCRIPT.parent.glob("targets/*/Makefile")} == targets


def test_wheels_are_chosen_for_the_target_not_for_this_machine() -> None:
    assert build["platforms"]("3.13", "aarch64")[0] == "manylinux_2_34_aarch64"
    # Amazon Linux 2 has an older C library, so newer wheels would not load.
    assert build["platforms"]("3.11", "x86_64")[0] == "manylinux_2_26_x86_64"
    assert "manylinux2014_x86_64" in build["platforms"]("3.11", "x86_64")


@pytest.mark.parametrize(
    "target", ["python2.7-arm64", "python3.13", "python3.13-riscv", "../python3.13-arm64"]
)
def test_another_target_is_refused_with_a_sentence(target: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="is no target of the layer"):
        build["main"]("lisa", target, tmp_path)


def test_retrievals_layer_does_not_repeat_what_lies_beside_it() -> None:
    pins = build["pins"]
    beside = pins((ROOT / "requirements/layer.txt").read_text())
    asked = pins(build["requirements"]("rag"))
    assert not beside.keys() & asked.keys()
    everything = pins((ROOT / "requirements/rag.txt").read_text())
    assert everything.keys() == asked.keys() | (everything.keys() & beside.keys())
    names = {pin.partition("==")[0] for pin in asked}
    assert {"lxml", "psycopg2-binary", "pypdfium2", "tokenizers"} <= names
    # Another version beside the same name would shadow it.
    assert not names & {pin.partition("==")[0] for pin in beside}
    assert all("--hash=sha256:" in text for text in asked.values())


def test_an_installation_with_both_layers_fits_into_lambda(tmp_path: Path) -> None:
    """What is installed here is what the layers hold, for this machine's processor, and more is stripped there."""
    installed = {"lisa": 0, "rag": 0}
    for layer in installed:
        for pin in build["pins"](build["requirements"](layer)):
            name, marker = pin.partition("==")[0], pin.partition(" ; ")[2]
            if marker and not Marker(marker).evaluate():
                continue
            files = distribution(name).files or []
            installed[layer] += sum(size_of(file) for file in files if file.suffix not in {".pyc", ".pyi"})
    assert installed["lisa"] > 10_000_000
    assert installed["rag"] > 50_000_000
    assert (
        sum(installed.values()) < build["MAX_UNPACKED_BYTES"] - 20_000_000
    )  # for the function, and lisa itself


def size_of(file: PackagePath) -> int:
    path = Path(str(file.locate()))
    return path.stat().st_size if path.is_file() else 0


def test_what_functions_do_not_need_is_left_out(tmp_path: Path) -> None:
    # Given
    for name in (
        "bin/jp.py",
        "boto3/session.py",
        "boto3-1.2.dist-info/METADATA",
        "jwt/api_jwt.py",
        "jwt/__pycache__/api_jwt.cpython-313.pyc",
        "jwt/py.typed",
        "wrapt/tests/test_it.py",
        "jwt-1.0.dist-info/METADATA",
        "jwt-1.0.dist-info/RECORD",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    # When
    build["strip"](tmp_path)

    # Then
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"jwt/api_jwt.py", "jwt/py.typed", "jwt-1.0.dist-info/METADATA"}


def test_the_model_template_travels_in_the_package(tmp_path: Path) -> None:
    build["add_lisa"](tmp_path)
    template = tmp_path / "lisa" / "models" / "model.yaml"
    assert template.read_bytes() == (ROOT / "containers/model/model.yaml").read_bytes()
    # CloudFormation takes no longer TemplateBody.
    assert template.stat().st_size < 51_200
    assert not list(tmp_path.rglob("__pycache__"))

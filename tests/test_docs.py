"""The manual is true to the program: every key, command, option and error is in it, and nothing else."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import errors
from lab.cli.parser import make_parser
from lab.load import loads
from lab.plan.planner import plan
from lab.services import kinds
from lab.services.kind import Kind
from lab.services.reference import Reference
from lab.services.table import KINDS
from lab.spec import topology_schema

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
MODELS = (
    "Topology",
    "NetworkSpec",
    "NodeSpec",
    "InterfaceSpec",
    "ImpairmentSpec",
    "RouteSpec",
    "ServiceSpec",
    "EventSpec",
)
SERVICES: dict[str, type[Kind]] = {**KINDS, "a program by its name": Reference}

Golden = Callable[[Path, str], None]


def read(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def between(text: str, begin: str, end: str, new: str) -> str:
    """Put a new text between two comments."""
    head, found, rest = text.partition(f"<!-- {begin} -->\n")
    _, found_end, tail = rest.partition(f"<!-- {end} -->")
    assert found and found_end, f"no <!-- {begin} --> with its <!-- {end} -->"  # noqa: PT018 - one thing
    return f"{head}{found}{new}{found_end}{tail}"


def table(head: tuple[str, str], rows: list[tuple[str, str]]) -> str:
    lines = [head, ("---", "---"), *rows]
    return "\n" + "".join(f"| {first} | {second} |\n" for first, second in lines) + "\n"


def keys(model: str) -> list[tuple[str, str]]:
    """Every key of a model, and what the schema says of it."""
    schema = topology_schema(SERVICES)
    definition: dict[str, Any] = schema if model == "Topology" else schema["$defs"][model]
    (form,) = [form for form in (definition, *definition.get("anyOf", ())) if "properties" in form]
    required = form.get("required", ())
    return [
        (f"`{key}`" + (" (required)" if key in required else ""), value["description"])
        for key, value in form["properties"].items()
    ]


def test_every_model_of_the_schema_has_its_section() -> None:
    of_services = {model.__name__ for model in KINDS.values()}
    assert {"Topology", *topology_schema(KINDS)["$defs"]} == {*MODELS, *of_services}


def test_every_key_of_a_topology_file_is_documented(golden: Golden) -> None:
    text = read("topology.md")
    for model in MODELS:
        text = between(text, f"keys of {model}", "end of keys", table(("key", "meaning"), keys(model)))
    golden(DOCS / "topology.md", text)


def test_every_kind_of_service_has_its_section() -> None:
    headings = re.findall(r"^## (.*)", read("services.md"), re.MULTILINE)
    assert [heading for heading in headings if heading in KINDS] == sorted(KINDS)


def test_every_option_of_a_service_is_documented(golden: Golden) -> None:
    text = read("services.md")
    for kind, model in SERVICES.items():
        own = [row for row in keys(model.__name__) if row not in keys("ServiceSpec")]
        text = between(text, f"options of {kind}", "end of options", table(("option", "meaning"), own))
    golden(DOCS / "services.md", text)


def all_errors(kind: type[errors.LabError] = errors.LabError) -> Iterator[type[errors.LabError]]:
    yield kind
    for narrower in kind.__subclasses__():
        if narrower.__module__ == errors.__name__:
            yield from all_errors(narrower)


def test_every_error_is_documented_with_its_exit_code(golden: Golden) -> None:
    rows = [(f"`{kind.__name__}` ({kind.exit_code})", (kind.__doc__ or "").split("\n")[0]) for kind in all_errors()]
    new = between(read("exit-codes.md"), "errors", "end of errors", table(("error (exit code)", "meaning"), rows))
    golden(DOCS / "exit-codes.md", new)


def actions(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found[0].choices) if found else {}


def commands() -> dict[str, argparse.ArgumentParser]:
    return actions(make_parser())


def test_every_command_has_its_section() -> None:
    headings = re.findall(r"^## lab (\w+)", read("commands.md"), re.MULTILINE)
    assert sorted(headings) == sorted(commands())


@pytest.mark.parametrize("command", sorted(commands()))
def test_every_option_of_a_command_is_in_its_section(command: str) -> None:
    (section,) = re.findall(rf"^## lab {command}\b.*?(?=^## |\Z)", read("commands.md"), re.MULTILINE | re.DOTALL)
    parsers = [commands()[command], *actions(commands()[command]).values()]
    options = {option for parser in parsers for action in parser._actions for option in action.option_strings}
    documented = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", " ".join(re.findall(r"`[^`]*`", section))))
    others = {"-k", "-i"}  # of a program in an example
    assert documented - others == options - {"-h", "--help"}


def test_every_option_and_mark_of_the_plugin_is_documented(pytestconfig: pytest.Config) -> None:
    plugin = (ROOT / "lab" / "pytest_plugin.py").read_text(encoding="utf-8")
    options = re.findall(r'addoption\(\s*"(--[\w-]+)"', plugin)
    marks = re.findall(r'"(\w+)\([^"]*\): ', plugin)
    page = read("pytest.md")
    assert len(options) == 6
    assert [option for option in options if f"- `{option}" not in page] == []
    assert len(marks) == 3
    assert [mark for mark in marks if f"- `{mark}(" not in page] == []
    assert pytestconfig.getoption("lab_artifacts")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_topologies_in_the_manual_can_be_planned() -> None:
    texts = [text for page in PAGES for text in blocks(page, "yaml")]
    assert len(texts) >= 2
    for text in texts:
        assert plan(loads(text, kinds=kinds)).nodes


def test_the_first_lab_is_the_one_of_the_file() -> None:
    (shown,) = blocks(DOCS / "index.md", "yaml")
    assert plan(loads(shown)) == plan(loads((ROOT / "topologies" / "redirect.yaml").read_text(encoding="utf-8")))


def test_python_in_the_manual_is_python() -> None:
    texts = [text for page in PAGES for text in blocks(page, "python")]
    assert len(texts) >= 4
    for text in texts:
        compile(text, "manual", "exec")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        target, _, anchor = link.partition("#")
        other = page.parent / target if target else page
        assert other.is_file(), link
        headings = re.findall(r"^#+ (.*)", other.read_text(encoding="utf-8"), re.MULTILINE)
        assert not anchor or anchor in [heading.lower().replace(" ", "-") for heading in headings], link


def test_every_page_is_in_the_menu() -> None:
    menu = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    assert sorted(path for entry in menu for path in entry.values()) == [page.name for page in PAGES]

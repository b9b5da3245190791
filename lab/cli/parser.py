"""The commands and their options."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

_EPILOG = """\
exit codes: 0 done, 1 failed, 2 wrong use or wrong file, 3 something is missing on this machine,
130 interrupted; exec and shell return the program's own
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say it in one line, as every other error; the usage is what --help is for."""
        self.exit(2, f'{self.prog}: {message}; see "{self.prog} --help"\n')


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options of one call; leaves with exit code 2 if they make no sense."""
    parser = make_parser()
    options, rest = parser.parse_known_args(arguments)
    if options.module == "capture" and not any(word.startswith("-") for word in rest):
        options.expression += rest  # argparse does not look for a filter behind an option by itself
    elif rest:
        parser.error(f"{rest[0]} is not known here")
    return options


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = _Parser(
        prog="lab",
        description="A real network on one machine: brings topologies up, watches their wires, takes them down.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version and leave")
    parser.add_argument("--debug", action="store_true", help="show a traceback with an error")
    parser.set_defaults(module="version")
    commands = parser.add_subparsers(metavar="COMMAND", parser_class=_Parser)

    up = _command(commands, "up", "bring a topology up; it stays up when the command returns", formats=True)
    up.add_argument("file", metavar="FILE", help="a topology file (YAML)")
    up.add_argument("--name", help="another name than the file's, to have it up twice")

    down = _command(commands, "down", "take labs down, and leave nothing of them")
    down.add_argument("labs", metavar="LAB", nargs="*", help="a lab's name; none if there is only one")
    down.add_argument("--all", action="store_true", help="all labs of yours")

    _command(commands, "ls", "list your running labs", formats=True)

    inspect = _command(commands, "inspect", "show a running lab: nodes, addresses, processes", formats=True)
    inspect.add_argument("lab", metavar="LAB", nargs="?", help="a lab's name; none if there is only one")

    plan = _command(commands, "plan", "show what a topology file comes to, without building it", formats=True)
    plan.add_argument("file", metavar="FILE", help="a topology file (YAML)")

    execute = _command(commands, "exec", "run a program in a node, in this terminal")
    _add_lab(execute)
    execute.add_argument("node", metavar="NODE")
    execute.add_argument("program", metavar="CMD", nargs=argparse.REMAINDER, help="-- and a program with its arguments")

    shell = _command(commands, "shell", "an interactive shell in a node")
    _add_lab(shell)
    shell.add_argument("node", metavar="NODE")

    capture = _command(commands, "capture", "print or save a node's packets as they pass; Ctrl-C ends it")
    _add_lab(capture)
    capture.add_argument("target", metavar="NODE[:IFACE]", help="one interface, or all of a node's")
    capture.add_argument("expression", metavar="FILTER", nargs="*", help='in tcpdump\'s language: "icmp or arp"')
    capture.add_argument("-w", "--write", metavar="FILE", help='write a pcap file instead of lines; "-" is stdout')
    capture.add_argument("-c", "--count", metavar="N", type=_positive, help="end after N packets")

    _command(
        commands,
        "doctor",
        "try out what labs need of this machine; say how to mend what is missing",
        formats=True,
    )
    _command(commands, "schema", "print the JSON Schema of topology files, for editors")
    return parser


def _command(
    commands: argparse._SubParsersAction[_Parser], name: str, help_text: str, *, formats: bool = False
) -> _Parser:
    command = commands.add_parser(name, help=help_text, description=help_text[0].upper() + help_text[1:] + ".")
    command.set_defaults(module=name if name != "exec" else "execute")
    if formats:
        command.add_argument(
            "--format", choices=("text", "json"), default="text", help="text for people (default) or JSON"
        )
    return command


def _add_lab(command: _Parser) -> None:
    command.add_argument("--lab", metavar="NAME", help="which lab; not needed if there is only one")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number

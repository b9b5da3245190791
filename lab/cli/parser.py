"""The commands and their options."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from lab import servers

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
    elif options.module == "test":
        options.arguments = rest
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
    up.add_argument(
        "--backend", choices=("docker", "netns"), default="netns", help="what it is made of (default: netns)"
    )

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

    _add_faults(commands)

    logs = _command(commands, "logs", "show what a node's services have written")
    _add_lab(logs)
    logs.add_argument("node", metavar="NODE")
    logs.add_argument("service", metavar="SERVICE", nargs="?", help="one of them; all if none is named")
    logs.add_argument("-f", "--follow", action="store_true", help="go on with what they write, until Ctrl-C")

    restart = _command(commands, "restart", "stop a service and start it again")
    _add_lab(restart)
    restart.add_argument("node", metavar="NODE")
    restart.add_argument("service", metavar="SERVICE")

    build = _command(commands, "build", "build the project's own servers, those that have changed")
    build.add_argument("programs", metavar="PROGRAM", nargs="*", help="only these; all if none is named")
    build.add_argument(
        "--preset", choices=servers.PRESETS, default="release", help="of servers/CMakePresets.json (default: release)"
    )

    _add_images(commands)

    test = _command(commands, "test", "run the scenarios; what else is given goes to pytest: -n 2, -k NAME, --mutants")
    test.add_argument("--book", metavar="SECTION", help="those of one section of the book, like 3.5 or 2.6.2")

    _command(commands, "book", "list the book's sections with their scenarios and last results", formats=True)

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


def _add_faults(commands: argparse._SubParsersAction[_Parser]) -> None:
    cut = _command(commands, "cut", "let nothing pass any more at an interface, a node, a network, or between two")
    _add_lab(cut)
    cut.add_argument(
        "targets",
        metavar="TARGET",
        nargs="+",
        help="NODE:IFACE, NODE or NETWORK; two of them mean what is between: NODE NODE, or NODE NETWORK",
    )
    cut.add_argument("--carrier", action="store_true", help="let the nodes notice, as when a plug is pulled")

    restore = _command(commands, "restore", "undo a cut or a partition; without a target all of them")
    _add_lab(restore)
    restore.add_argument("targets", metavar="TARGET", nargs="*", help="as they were given to cut or partition")

    partition = _command(commands, "partition", "part groups of nodes, so that none of one reaches any of another")
    _add_lab(partition)
    partition.add_argument("targets", metavar="GROUP", nargs="+", help="nodes with commas between them: a,b c,d")

    kill = _command(commands, "kill", "let a node lose its power: its programs end, and its interfaces fall silent")
    start = _command(commands, "start", "give a killed node its power back: addresses, routes, services")
    for command in (kill, start):
        _add_lab(command)
        command.add_argument("nodes", metavar="NODE", nargs="+")

    impair = _command(commands, "impair", "change the delay, rate or losses of a node's links; it replaces what was")
    _add_lab(impair)
    impair.add_argument("target", metavar="NODE[:IFACE]", help="one interface, or all of a node's")
    impair.add_argument(
        "settings",
        metavar="KEY=VALUE",
        nargs="*",
        help="as in a topology file: delay=10ms jitter=2ms rate=10mbit queue=50p loss=1%% duplicate=1%% reorder=1%% "
        "corrupt=1%%; out.delay=10ms and in.delay=10ms are for one direction; none at all ends it",
    )


def _add_images(commands: argparse._SubParsersAction[_Parser]) -> None:
    images = _command(commands, "images", "build, list and remove the container images of --backend docker")
    actions = images.add_subparsers(metavar="ACTION", dest="action", required=True, parser_class=_Parser)

    build = _command(actions, "build", "build images, those that have changed")
    build.add_argument("names", metavar="NAME", nargs="*", help="only these; all if none is named")
    build.add_argument("--base", metavar="IMAGE", help="what to build them on (default: debian:bookworm-slim)")

    listing = _command(actions, "ls", "list the images that the daemon has", formats=True)

    remove = _command(actions, "rm", "remove images of this project's")
    remove.add_argument("names", metavar="NAME", nargs="*", help="only these; all if none is named")
    for action in (build, listing, remove):
        action.set_defaults(module="images")


def _add_lab(command: _Parser) -> None:
    command.add_argument("--lab", metavar="NAME", help="which lab; not needed if there is only one")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number

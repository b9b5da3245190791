"""`lab exec` and `lab shell`: the program is the command."""

from __future__ import annotations

import signal

from tests.commands import Said, execute


def test_exec_is_the_program(lab_name: str) -> None:
    said = execute(
        "exec", "--lab", lab_name, "left", "--", "sh", "-c", 'cat; hostname; echo "$1" >&2; exit 7', "-", "a  b"
    )
    assert said == Said(7, "left\n", "a  b\n")
    assert execute("exec", "--lab", lab_name, "left", "cat", stdin="through\n") == Said(0, "through\n", "")


def test_exec_finds_the_lab_by_the_environment(lab_name: str) -> None:
    assert execute("exec", "right", "hostname", environment={"LAB": lab_name}).out == "right\n"


def test_exec_tells_of_a_signal_as_a_shell_does(lab_name: str) -> None:
    said = execute("exec", "--lab", lab_name, "left", "--", "sh", "-c", "kill -TERM $$")
    assert said.code == 128 + signal.SIGTERM


def test_exec_says_which_nodes_there_are(lab_name: str) -> None:
    said = execute("exec", "--lab", lab_name, "nobody", "true")
    assert said == Said(2, "", f'lab: no node named "nobody"; lab {lab_name} has left, right\n')


def test_exec_wants_a_program(lab_name: str) -> None:
    for words in (["left"], ["left", "--"]):
        said = execute("exec", "--lab", lab_name, *words)
        assert said == Said(2, "", "lab: no program to run; write: lab exec left -- PROGRAM [ARGUMENT...]\n")


def test_exec_of_a_program_that_does_not_exist_is_what_a_shell_makes_of_it(lab_name: str) -> None:
    said = execute("exec", "--lab", lab_name, "left", "no-such-program", environment={"PATH": "/usr/bin:/bin"})
    assert said.code == 127
    assert "no-such-program" in said.err


def test_exec_in_an_unknown_lab_says_so() -> None:
    said = execute("exec", "--lab", "ghost", "left", "true")
    assert said.code == 2
    assert said.err.startswith('lab: no lab named "ghost" is up')


def test_shell_is_the_users_own(lab_name: str) -> None:
    said = execute("shell", "--lab", lab_name, "left", stdin="hostname\nexit 4\n", environment={"SHELL": "/bin/sh"})
    assert (said.code, said.out) == (4, "left\n")


def test_shell_without_a_shell_is_the_machines(lab_name: str) -> None:
    said = execute("shell", "--lab", lab_name, "left", stdin="echo $0\n", environment={"SHELL": "/no/such/shell"})
    assert (said.code, said.out) == (0, "/bin/sh\n")

"""A trial of more than one user id in a user namespace, which servers that change their user need."""

from __future__ import annotations

import os
import pwd
import time
from pathlib import Path

from lab.command import output_of
from lab.doctor.tools import detail_and_remedy
from lab.doctor.trial import Refusal, Trial, start
from lab.errors import MissingToolError
from lab.netlink import namespaces
from lab.netlink.namespaces import Clone

_SECONDS = 8.0
_ROOTS_RANGE = "0 0 65536\n"


def trials() -> list[Trial]:
    """Return the trial; labs whose servers keep their user come up without."""
    remedy = "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER, as root"
    return [Trial("several user ids", "machine", _several_ids, remedy, required=False)]


def _several_ids() -> str:
    """Become another user inside a user namespace whose ids a process outside has mapped."""
    inside, uid, gid = os.getpid(), os.geteuid(), os.getegid()
    reader, writer = os.pipe()

    def map_ids() -> str:
        os.read(reader, 1)
        _map("uid", inside, uid)
        _map("gid", inside, gid)
        return ""

    outside = start(map_ids)
    namespaces.unshare(Clone.USER)
    os.write(writer, b".")
    outcome = outside.wait(time.monotonic() + _SECONDS)
    if not outcome.ok:
        raise Refusal(outcome.detail, outcome.remedy)
    os.setresgid(1, 1, 1)
    os.setresuid(1, 1, 1)
    return "a process can be another user in a user namespace"


def _map(kind: str, process: int, own: int) -> None:
    """Map `own` to root and this user's subordinate ids to ordinary ones; root may map any."""
    if os.geteuid() == 0:
        Path(f"/proc/{process}/{kind}_map").write_text(_ROOTS_RANGE)
        return
    first, count = _subordinate(kind)
    try:
        output_of([f"new{kind}map", str(process), "0", str(own), "1", "1", first, count])
    except MissingToolError as error:
        raise Refusal(*detail_and_remedy(error)) from error


def _subordinate(kind: str) -> tuple[str, str]:
    """Return first and count of this user's range; a line is "name:first:count" or "uid:first:count" (subuid(5))."""
    file = Path(f"/etc/sub{kind}")
    for line in file.read_text().splitlines() if file.exists() else ():
        owner, first, count = line.split(":")
        if owner in _own_names():
            return first, count
    raise Refusal(f"{file} has no line for uid {os.geteuid()}", "")


def _own_names() -> list[str]:
    uid = os.geteuid()
    return [str(uid), *(user.pw_name for user in pwd.getpwall() if user.pw_uid == uid)]

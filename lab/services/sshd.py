"""sshd: logging in from node to node, with keys of the lab's own."""

# No `from __future__ import annotations`: pydantic reads the annotations at run time.
import os
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from lab.command import find_tool, output_of
from lab.services.kind import Kind, Place, Port, Program
from lab.services.options import PortNumber

CLIENT = "/run/ssh"
_CONFIGURATION = """\
Port {port}
HostKey {home}/host
AuthorizedKeysFile {home}/authorized
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PrintMotd no
UseDNS no
AcceptEnv LANG LC_*
Subsystem sftp internal-sftp
"""
_CLIENT_CONFIGURATION = """\
Host *
    User lab
    IdentityFile {client}/key
    IdentitiesOnly yes
    UserKnownHostsFile {client}/known
    GlobalKnownHostsFile none
    UpdateHostKeys no
"""


class Sshd(Kind):
    """An SSH server; in any node: ssh -F /run/ssh/config NODE. The keys are made for the lab and go with it."""

    package: ClassVar[str] = "openssh-server"

    port: PortNumber = Field(default=22, description="Where it listens.")

    def program(self, place: Place) -> Program:
        """Return what to run; the lab's keys are made when its first server asks for them."""
        host, user = (_key(place.keep / "keys", name) for name in ("host", "user"))
        path = f"{place.home}/sshd.conf"
        return Program(
            arguments=("sshd", "-D", "-e", "-f", path),
            files={
                path: _CONFIGURATION.format(port=self.port, home=place.home),
                f"{place.home}/host": host.read_text(),
                f"{place.home}/authorized": user.with_suffix(".pub").read_text(),
            },
            shared={
                f"{CLIENT}/config": _CLIENT_CONFIGURATION.format(client=CLIENT),
                f"{CLIENT}/key": user.read_text(),
                f"{CLIENT}/known": f"* {host.with_suffix('.pub').read_text()}",
            },
            ports=(Port("tcp", self.port),),
        )


def _key(folder: Path, name: str) -> Path:
    """Return the path of one of the lab's private keys; the public one is beside it."""
    path = folder / name
    if not path.exists():
        folder.mkdir(mode=0o700, exist_ok=True)
        # ssh-keygen does nothing for a user without a name, which a lab's may be; root has one.
        as_root = ["unshare", "--user", "--map-root-user"] if os.geteuid() else []
        output_of([*as_root, find_tool("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)])
    return path

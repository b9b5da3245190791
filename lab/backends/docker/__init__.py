"""Labs of Docker containers and Docker networks; `lab.backends.owned` tells of their processes.

A node is a container that does nothing but wait. Its owner, which is root on the daemon's machine, enters the
container's namespaces from outside: programs are started, sockets opened and packets captured as on netns, and an
image needs no tools for it.

A network is a Docker network, which names and numbers things. Frames do not pass Docker's bridge: it may have
firewall rules of the machine's in the way, which nothing in a lab can take back. They pass the lab's own switches,
in a network namespace of the owner's, as on netns.

When the owner ends, however it ends, its guard removes containers and networks. If both are killed, the next lab
of this backend or `lab down --all` does.
"""

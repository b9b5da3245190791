"""Labs of Linux namespaces.

The processes, each the parent of the next:

    client   asks for a lab (a command, or a test session)
    nursery  one per client, started fresh so that it has one thread and knows nothing of its client; forks guards
    guard    one per lab; enters the user namespace when it is no root's lab, waits for the owner, removes its files
    owner    process 1 of the lab's PID namespace; holds every namespace by descriptor and starts the lab's processes
    carrier  a child of the owner in labs that have programmable wires: carries their frames

Killing the owner makes the kernel end every process in the lab and drop every namespace, interface and mount;
the guard then removes the lab's directory. Killing the guard makes the owner do it itself.
"""

"""Labs of Linux namespaces; `lab.backends.owned` tells of their processes.

The guard enters a user namespace when it is no root's lab. The owner is process 1 of the lab's PID namespace:
killing it makes the kernel end every process in the lab and drop every namespace, interface and mount; the guard
then removes the lab's directory. Killing the guard makes the owner do it itself.
"""

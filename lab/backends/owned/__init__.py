"""Labs that a process of their own holds: what backends whose nodes are namespaces have in common.

The processes of a lab, each the parent of the next:

    client   asks for a lab (a command, or a test session)
    nursery  one per client, started fresh so that it has one thread and knows nothing of its client; forks guards
    guard    one per lab; waits for the owner, and clears away what is left of the lab
    owner    holds every namespace by descriptor, starts the lab's programs, and answers its clients
    carrier  a child of the owner in labs that have programmable wires: carries their frames

What nodes are made of, and how they go, is a `maker`'s business: each backend has one.
"""

"""Forks a guard for each lab that its client asks for: each backend runs it as a program of its own.

A lab is made by a fork, and a fork of the client would carry the client's threads, locks and open files along.
This process is started afresh, has one thread, and has the slow imports behind it when the second lab comes.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys

from lab.backends.owned import guard, messages
from lab.backends.owned.maker import Maker


def serve(maker: Maker) -> None:
    """Serve the client, on the descriptor that is the first argument, until it is gone.

    The labs that it left detached go on.
    """
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        gc.freeze()  # what is here now stays, and no collector of a child need look at it and so copy it
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for guards, so the kernel is to reap them
        while True:
            try:
                message = messages.receive(channel)
            except messages.ConnectionLostError:
                return
            if os.fork() == 0:
                _become_guard(channel, message, maker)
            for descriptor in message.descriptors:
                os.close(descriptor)


def _become_guard(channel: socket.socket, message: messages.Message, maker: Maker) -> None:
    code = 1
    try:
        channel.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        guard.run(message, maker)
        code = 0
    finally:
        os._exit(code)

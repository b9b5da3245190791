"""Links that are slow, lossy or under a test's control.

A link gets its impairments in one of two ways. Where the kernel can (netem, or tbf where a rate is all that is
asked for), two queueing disciplines in the switch's namespace do it. Where it cannot, and wherever a test is to
decide about single packets, the link is a programmable wire: two devices whose frames a relay in user space
carries from one to the other.

    mechanism   which of the two an interface gets, by trial
    shaper      the kernel's: a bridge of two ports beside the switch, with a queueing discipline on each
    qdisc       the requests for netem and tbf
    device      the wire's ends: TAP devices, or packet sockets where there are none
    line        one direction of a wire: what becomes of a frame, and when; pure
    rules       what a test asks for: drop the second SYN; pure
    wire        both directions of a wire and its rules; pure
    relay       carries the frames, on time
    instrument  what a test holds: `link.drop(nth=7)`
"""

"""What a packet is: predicates for `Trace.where`, one module per protocol. Pure."""

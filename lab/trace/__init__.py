"""Frames to typed packets, packets to a Trace, a Trace to lines: pure, without root or kernel."""

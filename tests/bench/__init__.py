"""How fast a lab comes up and goes down, against a floor written in C and against two peers, in one run."""

"""What can be done to a running lab's network, as data: where a cut is, and which ones are in force. Pure."""

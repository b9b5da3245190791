"""Where a Plan becomes a running lab: `base` says what a backend does, `netns` and `fake` do it."""

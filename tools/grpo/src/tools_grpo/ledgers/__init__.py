"""What a run records while it trains: its rollouts, and how often each prompt was solved."""

"""The server's processes: launch, supervision, source, recorder, scoreboard."""

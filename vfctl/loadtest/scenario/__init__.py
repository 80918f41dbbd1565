"""What a load test is: the scenario model and its file, roles, stages, gates."""

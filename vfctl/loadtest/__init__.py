"""The load generator: scenarios, generator processes, results and gates."""

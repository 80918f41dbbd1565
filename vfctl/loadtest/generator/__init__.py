"""What one generator process does: connect, read, measure."""

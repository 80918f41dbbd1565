"""What a recording may be: a file for each format, and what several of them are made of."""

"""A record in, canonical events out: recognising vendors, reading CloudEvents, the rules of the clock."""

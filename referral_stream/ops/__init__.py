"""Tools for operators: doctor, rights, dead letters."""

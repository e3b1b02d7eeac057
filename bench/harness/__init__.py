"""What the programs of bench/ share; the standard library only."""

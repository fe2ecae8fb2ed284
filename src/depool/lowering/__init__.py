"""How a plan becomes a program: forms, styles, borders, and what a target imposes."""

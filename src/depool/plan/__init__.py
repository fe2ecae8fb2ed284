"""Which maxima: plans, their coverage proof, and the planners."""

"""`depool explain`: a page on which a pool's convolutions can be stepped through, on numbers of one's own."""

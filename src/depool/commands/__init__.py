"""Commands of the command line, a file each; `depool.cli` joins them."""

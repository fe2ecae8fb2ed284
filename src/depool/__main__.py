"""`python -m depool` is the command line."""

from depool.cli import main

main()

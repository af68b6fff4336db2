"""`python -m services` is the command line."""

from services.cli import main

main()

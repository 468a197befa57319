"""`python -m mambo`."""

from mambo.cli import main

main()

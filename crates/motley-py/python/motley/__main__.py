"""`python -m motley`."""

from ._command import main

main()

"""``python -m lstm_hw.cli``."""

from . import main

main()

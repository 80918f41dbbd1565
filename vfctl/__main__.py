"""`python -m vfctl`."""

from vfctl.cli import main

if __name__ == "__main__":
    main()

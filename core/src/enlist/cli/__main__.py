"""``python -m enlist.cli``: the command, where its script is not on the PATH."""

from enlist.cli import main

if __name__ == "__main__":
    main()

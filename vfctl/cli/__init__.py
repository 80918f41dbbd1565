"""The command line: one file per command, each of which parses, calls one function and renders.

Nothing is imported here: spawned processes import the parent's main module again, and should not pay for it.
"""


def main() -> None:
    """Entry point of `vfctl`."""
    import sys

    try:
        from vfctl.cli.app import run
        from vfctl.cli.closed_streams import open_closed_streams, outlive_the_reader_of_stderr

        open_closed_streams()
        if sys.argv[1:2] != ["watch"]:  # which does nothing but talk, and ends when nobody listens
            outlive_the_reader_of_stderr()
        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # while that was imported
        code = 130
    # A Ctrl-C that came within an exec(), by which dataclasses are made, would have `python -m vfctl` end by SIGINT and
    # not with this code, although it was caught (CPython, run_eval_code_obj). Another exec() makes Python forget it.
    exec("")
    sys.exit(code)

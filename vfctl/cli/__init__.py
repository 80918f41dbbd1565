"""The command line: a module per command, each of which parses, calls one function and renders.

Nothing is imported here, because spawned processes import the parent's main module again.
"""


def main() -> None:
    """Entry point of `vfctl`."""
    import os
    import sys

    try:
        from vfctl.terminal.output import ignore_closed_stderr, reopen_closed_streams

        reopen_closed_streams()
        completion = os.environ.get("_VFCTL_COMPLETE", "")
        if completion.startswith("complete_"):
            from vfctl.cli.completion import complete

            sys.exit(complete(completion))
        if sys.argv[1:2] != ["watch"]:  # which only prints to stderr, and ends when nobody reads it
            ignore_closed_stderr()
        from vfctl.cli.app import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # during the imports
        code = 130
    # If Ctrl-C came within an exec(), which dataclasses use, `python -m vfctl` would end by SIGINT instead of with this
    # code, although it was caught (CPython, run_eval_code_obj). Another exec() makes Python forget it.
    exec("")
    sys.exit(code)

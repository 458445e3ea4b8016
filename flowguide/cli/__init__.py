import sys

from .._extras import check_extra as _check_extra


def main() -> None:
    """The `flowguide` command."""
    try:
        _check_extra("ogbench", "The flowguide command")
    except ImportError as error:
        sys.exit(f"flowguide: {error}")
    from ._main import main

    main()


__all__ = [
    "main",
]

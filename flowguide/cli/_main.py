import inspect
import sys
from typing import Annotated

import tyro

from ._collect import Collect
from ._demo import Demo

Command = (
    Annotated[Collect, tyro.conf.subcommand("collect", description=inspect.getdoc(Collect))]
    | Annotated[Demo, tyro.conf.subcommand("demo", description=inspect.getdoc(Demo))]
)


def main() -> None:
    """The `flowguide` command: parses, calls the library and prints."""
    command = tyro.cli(
        Command,  # pyright: ignore[reportArgumentType]
        prog="flowguide",
        description="Test-time guidance of frozen flow policies by a critic's gradient.",
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes),
    )
    try:
        command.run()
    except (ValueError, FileNotFoundError, FloatingPointError, RuntimeError) as error:
        print(f"flowguide: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print(
            "flowguide: stopped; the same command goes on from what is finished.", file=sys.stderr
        )
        sys.exit(130)

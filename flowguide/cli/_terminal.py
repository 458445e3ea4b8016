"""What the commands show in a terminal."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from ..evaluate import Condition, Success


def success_table(found: "dict[Condition, Success]") -> "Table":
    """Conditions with their success rates, one a row."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2), header_style="bold")
    table.add_column("method")
    for name in ("weight", "best of", "episodes", "success"):
        table.add_column(name, justify="right")
    table.add_column("95% interval")
    for condition, rate in found.items():
        table.add_row(
            condition.method,
            f"{condition.weight:g}" if condition.weight else "-",
            str(condition.best_of_n) if condition.best_of_n > 1 else "-",
            str(rate.count),
            f"{rate.rate:.2f}",
            f"[{rate.low:.2f}, {rate.high:.2f}]",
        )
    return table

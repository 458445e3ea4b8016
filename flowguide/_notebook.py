"""What a notebook shows of a policy."""

from html import escape
from typing import Any


def policy_html(policy: Any) -> str:
    """A table: what the policy is, line by line of its `repr`, and what an action costs."""
    first, *lines = repr(policy).splitlines()
    rows = [("policy", first), *(line.strip().partition(": ")[::2] for line in lines)]
    cost = policy.cost()
    if cost is not None:
        counts = {
            "velocities": cost.velocities,
            "pullbacks": cost.pullbacks,
            "critic values": cost.critic_values,
            "critic gradients": cost.critic_gradients,
        }
        text = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        rows.append(("an action costs", f"{text}: {cost.forwards()} forward passes"))
    cells = "".join(
        f'<tr><th scope="row" style="text-align: left">{escape(name)}</th>'
        f'<td style="text-align: left"><code>{escape(text)}</code></td></tr>'
        for name, text in rows
    )
    return f"<table><tbody>{cells}</tbody></table>"

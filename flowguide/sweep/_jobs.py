import dataclasses
import json
from typing import Any


@dataclasses.dataclass(frozen=True)
class Job:
    """One job of a sweep: a call in a process of its own.

    **Attributes:**

    - `name`: of its files in `OUT/jobs`.
    - `kind`: one of `KINDS`; what resources it gets.
    - `call`: `"module:function"`, called as `function(out, arguments, cpus)`.
    - `arguments`: JSON. Paths in it count from the folder of the sweep, so that it can be moved.
    - `needs`: names of the jobs that must be done before.
    - `tolerant`: it runs as well if some of these failed.
    """

    name: str
    kind: str
    call: str
    arguments: dict[str, Any]
    needs: tuple[str, ...] = ()
    tolerant: bool = False

    @property
    def spec(self) -> dict[str, Any]:
        """What its result follows from, as JSON gives it back."""
        return json.loads(json.dumps({"call": self.call, "arguments": self.arguments}))

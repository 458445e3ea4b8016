"""Shows a function in the reference that has the name of the module which it is in.

`flowguide.cfg` is a function of the module `flowguide._guidance.cfg`. griffe, which reads the code
for mkdocstrings, would take the module.
"""

from typing import Any

from griffe import Alias, Extension, Module


class Reference(Extension):
    def on_package(self, *, pkg: Module, **_: Any) -> None:
        for name, member in list(pkg.members.items()):
            if isinstance(member, Alias) and member.target_path.startswith(f"{pkg.name}._"):
                found = pkg[member.target_path.removeprefix(f"{pkg.name}.")]
                if found.is_module and name in found.members:
                    pkg.set_member(name, Alias(name, f"{found.path}.{name}", parent=pkg))

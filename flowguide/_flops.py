"""Floating-point operations of a program, counted while it runs.

XLA's own `cost_analysis` counts the body of a loop once, however often it runs, and the loop of
`diffrax.diffeqsolve` ends at a time, so that no compiler knows how often that is. Here the program
is run equation by equation: a loop counts as often as it turned, and of a condition what was taken.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.extend
import jax.extend.core.primitives

# A program in a program, which is run as a part of it.
_CALLS = {
    *("jit", "pjit", "closed_call", "core_call", "checkpoint", "remat", "remat2"),
    *("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr"),
}

# JAX's own that are more than work on each entry; an answer without them would be too low.
_OPAQUE = {
    *("custom_linear_solve", "ragged_dot_general", "fft", "cholesky", "triangular_solve"),
    *("tridiagonal_solve", "lu", "qr", "householder_product", "tridiagonal", "eig", "eigh"),
    *("hessenberg", "schur"),
}

# Equinox's, which say something to JAX and compute nothing but a choice.
_OF_EQUINOX = {
    *("maybe_set", "select_if_vmap", "unvmap_any", "unvmap_all", "unvmap_max"),
    *("nonbatchable", "nontraceable", "nondifferentiable", "nondifferentiable_backward"),
}


def count_flops(function: Callable[..., Any], *arguments: Any) -> int:
    """The floating-point operations of the matrix products and convolutions in one call.

    `policy.flops` has those of an action; here is anything else, such as an update of training.
    What is written twice in one piece of straight code, such as a critic's value that guidance
    and its gate ask for, counts once: XLA computes it once.

    **Arguments:**

    - `function`: it is traced by `jax.make_jaxpr`, and run.
    - `arguments`: pytrees of arrays.

    **Returns:**

    How many. Loops count as often as they turn with these arguments.

    **Raises:**

    `ValueError` for an operation whose products cannot be counted.
    """
    program = jax.make_jaxpr(function)(*arguments)
    tally = _Tally()
    tally.run(program.jaxpr, program.consts, jax.tree.leaves(arguments))
    return tally.flops


class _Tally:
    """Runs programs, and counts."""

    def __init__(self):
        self.flops = 0
        # What the piece of straight code has computed, by operation and identity of its inputs,
        # with these inputs: an identity is taken as long as somebody holds what has it.
        self._known: dict[Any, tuple[Any, Sequence[Any]]] = {}

    def run(self, program: Any, consts: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
        variables = *program.constvars, *program.invars
        values = dict(zip(variables, (*consts, *arguments), strict=True))

        def read(variable: Any) -> Any:
            if isinstance(variable, jax.extend.core.Literal):
                return variable.val
            return values[variable]

        for equation in program.eqns:
            inputs = [read(x) for x in equation.invars]
            outputs = self._step(equation, inputs)
            values.update(zip(equation.outvars, outputs, strict=True))
        return [read(x) for x in program.outvars]

    def _step(self, equation: Any, inputs: list[Any]) -> Sequence[Any]:
        name, params = _name(equation), equation.params
        if name == "while":
            return self._while(inputs, **params)
        if name == "scan":
            return self._scan(inputs, **params)
        if name == "cond":
            branches = params["branches"]
            taken = min(max(int(inputs[0]), 0), len(branches) - 1)
            return self._apart(branches[taken], inputs[1:])
        inner = [x for value in params.values() for x in _programs(value)]
        if name in _CALLS and inner:
            # Of a custom derivative, the others are its rules.
            return self._call(inner[0], inputs)
        if name not in _countable() or any(_has_work(each) for each in inner):
            raise ValueError(
                f"Cannot count the floating-point operations of {name!r}: callbacks (such "
                "as a PyTorch network's), kernels and matrix decompositions do not say what they "
                f"do. policy.cost() counts calls of networks.{_place(equation)}"
            )
        key = _key(equation, inputs)
        if key is not None and key in self._known:
            return self._known[key][1]
        self.flops += _flops_of(equation)
        found = equation.primitive.bind(*inputs, **params)
        outputs = found if equation.primitive.multiple_results else [found]
        if key is not None:
            self._known[key] = inputs, outputs
        return outputs

    def _apart(self, program: Any, inputs: Sequence[Any]) -> list[Any]:
        """Another piece of code, of which the compiler shares nothing with this one."""
        outside, self._known = self._known, {}
        outputs = self._call(program, inputs)
        self._known = outside
        return outputs

    def _call(self, program: Any, inputs: Sequence[Any]) -> list[Any]:
        if isinstance(program, jax.extend.core.ClosedJaxpr):
            return self.run(program.jaxpr, program.consts, inputs)
        return self.run(program, (), inputs)

    def _while(
        self,
        inputs: list[Any],
        *,
        cond_jaxpr: Any,
        body_jaxpr: Any,
        cond_nconsts: int,
        body_nconsts: int,
        **_: Any,
    ) -> list[Any]:
        of_both = cond_nconsts + body_nconsts
        of_cond, of_body = inputs[:cond_nconsts], inputs[cond_nconsts:of_both]
        carry = inputs[of_both:]
        while self._apart(cond_jaxpr, [*of_cond, *carry])[0]:
            carry = self._apart(body_jaxpr, [*of_body, *carry])
        return carry

    def _scan(
        self,
        inputs: list[Any],
        *,
        jaxpr: Any,
        length: int,
        reverse: bool,
        num_consts: int,
        num_carry: int,
        **_: Any,
    ) -> list[Any]:
        consts, carry = inputs[:num_consts], inputs[num_consts : num_consts + num_carry]
        rows = inputs[num_consts + num_carry :]
        found = []
        for i in reversed(range(length)) if reverse else range(length):
            outputs = self._apart(jaxpr, [*consts, *carry, *(row[i] for row in rows)])
            carry = outputs[:num_carry]
            found.append(outputs[num_carry:])
        if reverse:
            found.reverse()
        if not length:
            empty = [jax.numpy.zeros((0, *x.shape), x.dtype) for x in jaxpr.out_avals[num_carry:]]
            return [*carry, *empty]
        return [*carry, *(jax.numpy.stack(each) for each in zip(*found, strict=True))]


@functools.cache
def _countable() -> set[str]:
    """Primitives of which it is known that only `_flops_of` has anything to count: others may be
    kernels or callbacks of any library."""
    modules = jax.extend.core.primitives, jax.lax
    public = {x.name for m in modules for x in vars(m).values() if hasattr(x, "multiple_results")}
    return public - _OPAQUE | _OF_EQUINOX


def _name(equation: Any) -> str:
    primitive, params = equation.primitive, equation.params
    # Equinox's, of which `vmap` was taken, say in a parameter which they are.
    while primitive.name == "vprim":
        primitive, params = params["prim"], dict(params["params"])
    return primitive.name


def _key(equation: Any, inputs: Sequence[Any]) -> Any:
    """What two equations with one result have in common; None where that is not known."""
    if equation.effects:
        return None
    same = [
        ("literal", x.aval, str(x.val)) if isinstance(x, jax.extend.core.Literal) else id(value)
        for x, value in zip(equation.invars, inputs, strict=True)
    ]
    key = equation.primitive, tuple(sorted(equation.params.items(), key=_first)), tuple(same)
    try:
        hash(key)
    except TypeError:
        return None
    return key


def _first(item: tuple[str, Any]) -> str:
    return item[0]


def _programs(value: Any) -> list[Any]:
    """The programs in a parameter of an equation."""
    kinds = jax.extend.core.ClosedJaxpr, jax.extend.core.Jaxpr
    several = value if isinstance(value, (tuple, list)) else [value]
    return [each for each in several if isinstance(each, kinds)]


def _has_work(program: Any) -> bool:
    """Whether there is anything to count in it: most are the sum or the maximum of a reduction."""
    return any(
        _name(equation) in {*_CALLS, "while", "scan", "cond"}
        or _name(equation) not in _countable()
        or bool(_flops_of(equation))
        for equation in getattr(program, "jaxpr", program).eqns
    )


def _flops_of(equation: Any) -> int:
    """A multiplication and an addition for each product."""
    name, params = equation.primitive.name, equation.params
    if name == "svd":
        # Golub and Van Loan, table 8.6.1, with both bases; only `qgf_orthogonal` has one.
        *batch, one, other = equation.invars[0].aval.shape
        m, n = max(one, other), min(one, other)
        return math.prod(batch) * (4 * m * m * n + 8 * m * n * n + 9 * n**3)
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        left = equation.invars[0].aval.shape
        terms = math.prod(left[axis] for axis in contracted)
    elif name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        terms = math.prod(kernel) // kernel[params["dimension_numbers"].rhs_spec[0]]
    else:
        return 0
    return 2 * terms * math.prod(equation.outvars[0].aval.shape)


def _place(equation: Any) -> str:
    name = str(getattr(equation.source_info, "name_stack", ""))
    return f" It is in {name}." if name else ""

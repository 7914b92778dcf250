"""Recurrent networks, with the products of all time steps computed at once where possible.

A step of a recurrent network multiplies few rows with matrices that all steps share. Such products
are slow on a CPU, and the gradient of a shared matrix is added up step by step, which reads and
writes all of it each time. Two changes of the loop replace them by large products outside of it:

- A product of the inputs with a shared matrix does not depend on the state of the loop. It is
  computed before the loop, for all steps together.
- The derivative of a product ``y_t = x_t W`` of the state is ``dy_t = dx_t W + x_t dW``. Its second
  term is computed outside of the loop, for all steps together. So the gradient of W is one product
  of all ``x_t`` with the cotangents of all ``y_t``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, jaxpr_as_fun

Array = jax.Array
PRODUCTS = {"dot_general", "conv_general_dilated"}
CALLS = {"jit", "closed_call"}


class Step(NamedTuple):
    """One step of a loop, and the products in it.

    Attributes:
        jaxpr: the step, without calls; its inputs are constants, carry and inputs.
        consts: values of its constants.
        shared: variables with the same value in all steps.
        early: products of a shared value with a value that depends on the inputs alone.
        late: products of a shared value with one that depends on the carry.
    """

    jaxpr: Jaxpr
    consts: list[Any]
    shared: set[Var]
    early: list[JaxprEqn]
    late: list[JaxprEqn]


def products(body: ClosedJaxpr, num_consts: int, num_carry: int, keep: Any) -> Step:
    """Returns the products of a step; ``keep(eqn)`` excludes calls that are not opened."""
    flat = _flatten(body, keep)
    jaxpr = flat.jaxpr
    shared = {*jaxpr.constvars, *jaxpr.invars[:num_consts]}
    known = {*shared, *jaxpr.invars[num_consts + num_carry :]}
    early: list[JaxprEqn] = []
    late: list[JaxprEqn] = []
    for eqn in jaxpr.eqns:
        inputs = [v for v in eqn.invars if isinstance(v, Var)]
        if free := known.issuperset(inputs):
            known.update(eqn.outvars)
        if eqn.primitive.name in PRODUCTS and sum(v in shared for v in eqn.invars) == 1:
            (value,) = eqn.outvars
            if jnp.issubdtype(value.aval.dtype, jnp.floating):
                (early if free else late).append(eqn)
    return Step(jaxpr, flat.consts, shared, early, late)


def loop(
    body: ClosedJaxpr, num_consts: int, num_carry: int, keep: Any, fast: Callable, **settings: Any
) -> Callable[..., list[Array]] | None:
    """Returns a function that computes a scan, or None if no product depends on its carry.

    Without such a product the loop is not recurrent, but splits work to save memory, and products
    of all steps together would need that memory.

    Args:
        body: one step, as in the scan primitive.
        num_consts: number of constants, the first inputs of the step.
        num_carry: number of leaves of the carry, the next inputs.
        keep: whether an equation that calls a function is left as it is.
        fast: returns a function with fast products.
        settings: ``length``, ``reverse`` and ``unroll`` of ``jax.lax.scan``.
    """
    step = products(body, num_consts, num_carry, keep)
    jaxpr, start = step.jaxpr, num_consts + num_carry
    if jaxpr.effects or not step.late:
        return None
    shared, known = jaxpr.invars[:num_consts], [eqn.outvars[0] for eqn in step.early]
    before = _part(step, [*shared, *jaxpr.invars[start:]], known)

    @jax.custom_jvp
    def scan(consts: list, init: list, xs: list) -> tuple[list, list]:
        plain = fast(_part(step, [*jaxpr.invars, *known], jaxpr.outvars))

        def one(carry: list, x: list) -> tuple[list, list]:
            out = plain(*consts, *carry, *x)
            return out[:num_carry], out[num_carry:]

        return jax.lax.scan(one, init, xs, **settings)

    def derivative(primals: tuple, tangents: tuple) -> tuple:
        leaves, structure = jax.tree.flatten(primals)
        changes = jax.tree.leaves(tangents, is_leaf=lambda t: isinstance(t, SymbolicZero))
        moving = [i for i, change in enumerate(changes) if not isinstance(change, SymbolicZero)]
        variables: list[Any] = [*shared, *jaxpr.constvars]
        matrices = dict(zip(variables, [*leaves[:num_consts], *step.consts], strict=True))
        changed = {variables[i]: changes[i] for i in moving if i < num_consts}
        # The matrices of late products are a second argument of the step, which is not
        # differentiated here; higher derivatives reach them.
        fixed = [matrices[eqn.invars[_place(step, eqn)]] for eqn in step.late]
        of_one: list[Any] = [eqn.outvars[0].aval for eqn in step.late]
        zeros = [jnp.zeros((settings["length"], *a.shape), a.dtype) for a in of_one]
        linear_step = fast(_with_terms(step, known))

        def full(moved: list, terms: list) -> tuple[tuple, list]:
            now = list(leaves)
            for i, value in zip(moving, moved, strict=True):
                now[i] = value
            consts, init, xs = jax.tree.unflatten(structure, now)

            def one(carry: list, x: tuple[list, list]) -> tuple[list, tuple[list, list]]:
                out = linear_step(*consts, *carry, *x[0], *fixed, *x[1])
                last = len(jaxpr.outvars)
                return out[:num_carry], (out[num_carry:last], out[last:])

            carry, (ys, factors) = jax.lax.scan(one, init, (xs, terms), **settings)
            return (carry, ys), factors

        moved = [leaves[i] for i in moving]
        out, linear, factors = jax.linearize(full, moved, zeros, has_aux=True)
        terms = list(zeros)
        for i, eqn in enumerate(step.late):
            if (matrix := eqn.invars[_place(step, eqn)]) in changed:
                each = jax.vmap(_product(step, eqn), (0, None))  # x_t dW
                terms[i] = fast(each)(factors[i], changed[matrix])
        return out, linear([changes[i] for i in moving], terms)

    scan.defjvp(derivative, symbolic_zeros=True)

    def run(*args: Array) -> list[Array]:
        consts, init, xs = list(args[:num_consts]), list(args[num_consts:start]), list(args[start:])
        if known:
            each = jax.vmap(lambda x: before(*consts, *x))
            xs += fast(each)(xs)
        carry, ys = scan(consts, init, xs)
        return [*carry, *ys]

    return run


def _place(step: Step, eqn: JaxprEqn) -> int:
    """Returns which factor of a product is shared by all steps."""
    return 0 if eqn.invars[0] in step.shared else 1


def _product(step: Step, eqn: JaxprEqn) -> Callable[[Array, Array], Array]:
    """Returns the product as a function of the factor of a step, and of the shared one."""

    def product(x: Array, matrix: Array) -> Array:
        pair = (matrix, x) if _place(step, eqn) == 0 else (x, matrix)
        return eqn.primitive.bind(*pair, **eqn.params)

    return product


def _with_terms(step: Step, known: list[Var]) -> Callable[..., list[Array]]:
    """Returns a step in which late products ``x_t W`` become ``x_t V + term_t``.

    Its last inputs are all V and all terms, and its last outputs all ``x_t``.
    """
    eqns, matrices, terms, factors = {}, [], [], []
    for eqn in step.late:
        product, place = _product(step, eqn), _place(step, eqn)
        x, matrix = eqn.invars[1 - place], eqn.invars[place]
        traced = jax.make_jaxpr(jax.jit(lambda x, v, term, product=product: product(x, v) + term))
        (call,) = traced(x.aval, matrix.aval, eqn.outvars[0].aval).eqns
        matrices.append(call.invars[1])  # new variables
        terms.append(call.invars[2])
        factors.append(x)
        eqns[id(eqn)] = call.replace(invars=[x, *call.invars[1:]], outvars=eqn.outvars)
    jaxpr = step.jaxpr.replace(eqns=[eqns.get(id(eqn), eqn) for eqn in step.jaxpr.eqns])
    inputs = [*jaxpr.invars, *known, *matrices, *terms]
    return _part(step._replace(jaxpr=jaxpr), inputs, [*jaxpr.outvars, *factors])


def _part(step: Step, inputs: list[Var], outputs: list[Any]) -> Callable[..., list[Array]]:
    """Returns the function from some variables of a step to others."""
    needed, eqns = {v for v in outputs if isinstance(v, Var)} - set(inputs), []
    for eqn in reversed(step.jaxpr.eqns):
        if needed.intersection(eqn.outvars):
            eqns.append(eqn)
            needed.update(v for v in eqn.invars if isinstance(v, Var) and v not in inputs)
    names = step.jaxpr.debug_info.with_unknown_names()
    part = step.jaxpr.replace(invars=inputs, outvars=outputs, eqns=eqns[::-1], debug_info=names)
    return jaxpr_as_fun(ClosedJaxpr(part, step.consts))


def _flatten(closed: ClosedJaxpr, keep: Callable[[JaxprEqn], bool]) -> ClosedJaxpr:
    """Replaces calls by what they contain."""

    def run(jaxpr: Jaxpr, consts: list, args: list) -> list:
        values = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *args), strict=True))
        for eqn in jaxpr.eqns:
            inputs = [v for v in eqn.invars if isinstance(v, Var)]
            if eqn.primitive.name in CALLS and not keep(eqn):
                inner = eqn.params.get("jaxpr") or eqn.params["call_jaxpr"]
                out = run(inner.jaxpr, inner.consts, [read(values, v) for v in eqn.invars])
            else:
                names = jaxpr.debug_info.with_unknown_names()
                one = jaxpr.replace(
                    constvars=[], invars=inputs, outvars=eqn.outvars, eqns=[eqn], debug_info=names
                )
                out = jaxpr_as_fun(ClosedJaxpr(one, []))(*(values[v] for v in inputs))
            values.update(zip(eqn.outvars, out, strict=True))
        return [read(values, v) for v in jaxpr.outvars]

    def read(values: dict, v: Any) -> Any:
        return v.val if isinstance(v, Literal) else values[v]

    return jax.make_jaxpr(lambda *args: run(closed.jaxpr, closed.consts, list(args)))(
        *closed.in_avals
    )

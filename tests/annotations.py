"""The check of shapes and types, which a hook puts around every function of both packages as it is imported."""

import dataclasses
import inspect
from functools import wraps
from typing import ForwardRef, Literal, get_args, get_origin

import jaxtyping
from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as in PEP 484
jaxtyped = jaxtyping.jaxtyped
CONTEXT = jaxtyped("context")
"""Within it, one name of an axis means one size."""


def check(function):
    """Check a function's annotations at each call; the program that does it is written at the first call.

    Most functions of a package are not called by the tests of one file, and to write a program takes a millisecond.
    """
    program = None

    @wraps(function)
    def checking(*arguments, **options):
        nonlocal program
        program = program or checked(function)
        return program(*arguments, **options)

    return checking


def check_in_context(function):
    """Check a function's annotations, some of which are shapes."""
    checking = check(function)

    @wraps(function)
    def within(*arguments, **options):
        with CONTEXT:
            return checking(*arguments, **options)

    return within


def parts(hint):
    """Yield a type and the types that it is made of."""
    yield hint
    if get_origin(hint) is not Literal:
        for part in get_args(hint):
            yield from parts(part)


def is_shape(hint):
    return inspect.isclass(hint) and issubclass(hint, jaxtyping.AbstractArray)


def around(item):
    """Check a function, the functions of a descriptor or the fields of a dataclass, as `jaxtyping.jaxtyped` does.

    jaxtyping checks the arguments of each function twice and binds them in Python, and so takes a third of the time of
    many tests. It is left what it alone can do: types that are written as strings, and generators of arrays. A nested
    function is not checked: it is made anew at each call of the one around it, and so would be its program.
    """
    if inspect.isclass(item):
        if dataclasses.is_dataclass(item) and "__init__" in vars(item):
            item.__init__ = around(item.__init__)
        return item
    if isinstance(item, classmethod | staticmethod):
        return type(item)(around(item.__func__))
    if isinstance(item, property):
        return property(*(each and around(each) for each in (item.fget, item.fset, item.fdel)))
    if "<locals>" in item.__qualname__:
        return item
    hints = [part for hint in item.__annotations__.values() for part in parts(hint)]
    shaped = any(map(is_shape, hints))
    if any(isinstance(hint, str | ForwardRef) for hint in hints) or (shaped and inspect.isgeneratorfunction(item)):
        return jaxtyped(item, typechecker=check)
    return check_in_context(item) if shaped else check(item)


def install():
    """Put the check around all that is imported from both packages from now on."""
    jaxtyping.jaxtyped = lambda typechecker: around
    jaxtyping.install_import_hook(["data_prep", "ecgmtl"], f"{check.__module__}.{check.__name__}")

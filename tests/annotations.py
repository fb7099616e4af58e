"""The check of shapes and types, which a hook puts around every function of both packages as it is imported."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as in PEP 484


def check(function):
    """Check a function's annotations at each call, unless it is nested.

    A nested function is made anew at each call of the one around it, and so would be the program that checks it, in
    milliseconds.
    """
    return function if "<locals>" in function.__qualname__ else checked(function)

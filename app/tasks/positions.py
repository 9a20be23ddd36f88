"""Positions in a manually sorted list: strings that sort by their bytes, with room after each.

A position is a letter for the number of digits that follow, and the digits: ``a0`` to ``az``, then
``b00``. Its length grows with the logarithm of the number of positions.
"""

import string

DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
FIRST = "a0"
MAX_PREFIX = "z" * 27
MAX_LENGTH = 255


def after(last: str | None) -> str:
    """Return a position after ``last``, any string of DIGITS, or the first position.

    If the next one would be too long, return ``last``.
    """
    position = _next(last)
    return position if len(position) <= MAX_LENGTH or last is None else last


def _next(last: str | None) -> str:
    if last is None or last[:1] < "a":
        return FIRST
    if last.startswith(MAX_PREFIX):
        return MAX_PREFIX + _next(last[len(MAX_PREFIX) :] or None)
    count = ord(last[0]) - ord("a") + 1
    digits = [DIGITS.index(digit) for digit in last[1 : count + 1].ljust(count, DIGITS[0])]
    while digits and digits[-1] == len(DIGITS) - 1:
        digits.pop()
    if not digits:
        return chr(ord(last[0]) + 1) + DIGITS[0] * (count + 1)
    digits[-1] += 1
    return last[0] + "".join(DIGITS[digit] for digit in digits).ljust(count, DIGITS[0])

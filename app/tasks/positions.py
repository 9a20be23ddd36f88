"""Places in a list that is ordered by hand: strings, compared byte by byte, with room after each.

A place is a letter that tells how many digits follow, then those digits: ``a0`` to ``az``, then
``b00``. So places grow with the logarithm of how many were given out.
"""

import string

DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
FIRST = "a0"
LARGEST = "z" * 27
LONGEST = 255


def after(last: str | None) -> str:
    """Return a place behind ``last``, which may be any string of DIGITS; the first without one.

    Where there is no room left behind, it is ``last`` again.
    """
    place = _behind(last)
    return place if len(place) <= LONGEST or last is None else last


def _behind(last: str | None) -> str:
    if last is None or last[:1] < "a":
        return FIRST
    if last.startswith(LARGEST):
        return LARGEST + _behind(last[len(LARGEST) :] or None)
    count = ord(last[0]) - ord("a") + 1
    digits = [DIGITS.index(digit) for digit in last[1 : count + 1].ljust(count, DIGITS[0])]
    while digits and digits[-1] == len(DIGITS) - 1:
        digits.pop()
    if not digits:
        return chr(ord(last[0]) + 1) + DIGITS[0] * (count + 1)
    digits[-1] += 1
    return last[0] + "".join(DIGITS[digit] for digit in digits).ljust(count, DIGITS[0])

"""Syntax of email addresses."""

import email_validator
from email_validator import ValidatedEmail

# Domains such as .local, which no public mail server serves. The package documents its list as
# editable: it is empty here, since a setting and operators' commands allow these domains.
SPECIAL_USE = frozenset(email_validator.SPECIAL_USE_DOMAIN_NAMES) - {"test"}
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()


class SpecialUseDomain(ValueError):
    """The domain of an address is reserved for special use."""


def parse(text: str, *, allow_special_use: bool = True) -> ValidatedEmail:
    """Parse and normalize an address.

    Raises SpecialUseDomain unless such a domain is allowed, ValueError if the address is invalid.
    """
    address = email_validator.validate_email(
        text,
        check_deliverability=False,
        test_environment=True,
        globally_deliverable=not allow_special_use,
    )
    if not allow_special_use and _is_special_use(address.ascii_domain):
        raise SpecialUseDomain(address.ascii_domain)
    return address


def _is_special_use(domain: str) -> bool:
    labels = domain.split(".")
    return any(".".join(labels[start:]) in SPECIAL_USE for start in range(len(labels)))

"""Schemas of multi-factor authentication."""

from marshmallow import fields

from app.api.fields import String
from app.extensions import ma


def code() -> String:
    """Return the field of a code."""
    return String(min_length=1, max_length=64, strip=True, required=True, load_only=True)


class ConfirmSecondFactorSchema(ma.Schema):
    class Meta:
        example = {"code": "492039"}

    code = code()


class CompleteLoginSchema(ma.Schema):
    """The challenge from login, and a code of six digits or a recovery code."""

    class Meta:
        example = {"challenge": "WzEsIjVmMGMi...", "code": "492039"}

    challenge = String(min_length=1, max_length=500, required=True, load_only=True)
    code = code()


class EnrollmentSchema(ma.Schema):
    """The secret of a second factor, and its URI for QR codes; no other response has them."""

    class Meta:
        example = {
            "secret": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
            "otpauth_uri": (
                "otpauth://totp/Task%20API:ada"
                "?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Task%20API"
            ),
        }

    secret = fields.String(required=True)
    otpauth_uri = fields.String(required=True, metadata={"format": "uri"})


class RecoveryCodesSchema(ma.Schema):
    """Single-use recovery codes, which only this response contains."""

    class Meta:
        example = {"recovery_codes": ["mfzw-k4tu-nbsw-y3dp-o5xx-e3de"]}

    recovery_codes = fields.List(fields.String(), required=True)


class SecondFactorSchema(ma.Schema):
    """State of the second factor, and the number of unused recovery codes."""

    class Meta:
        example = {"confirmed": True, "recovery_codes_left": 10}

    confirmed = fields.Boolean(required=True)
    recovery_codes_left = fields.Integer(required=True)

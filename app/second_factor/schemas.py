"""What clients say and are told of second factors."""

from flask_marshmallow import Schema
from marshmallow import fields

from app.http.fields import Text

RECOVERY_CODE = "mfzw-k4tu-nbsw-y3dp-o5xx-e3de"


def code() -> Text:
    """A code as it was typed; which are good is the service's to say."""
    return Text(least=1, most=64, trim=True, required=True, load_only=True)


class ConfirmSecondFactorSchema(Schema):
    class Meta:
        example = {"code": "492039"}

    code = code()


class CompleteLoginSchema(Schema):
    """The challenge that a login gave, and a code of six digits or a recovery code."""

    class Meta:
        example = {"challenge": "WzEsIjVmMGMi...", "code": "492039"}

    challenge = Text(least=1, most=500, required=True, load_only=True)
    code = code()


class EnrolmentSchema(Schema):
    """The secret of a second factor, which is told this once, also as what an app scans."""

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


class RecoveryCodesSchema(Schema):
    """Codes that each stand in for a timed one, once; they are told this once."""

    class Meta:
        example = {"recovery_codes": [RECOVERY_CODE]}

    recovery_codes = fields.List(fields.String(), required=True)


class SecondFactorSchema(Schema):
    """A second factor: whether it is in force, and how many recovery codes are left."""

    class Meta:
        example = {"confirmed": True, "recovery_codes_left": 10}

    confirmed = fields.Boolean(required=True)
    recovery_codes_left = fields.Integer(required=True)


CONFIRM_SECOND_FACTOR = ConfirmSecondFactorSchema()
COMPLETE_LOGIN = CompleteLoginSchema()
ENROLMENT = EnrolmentSchema()
RECOVERY_CODES = RecoveryCodesSchema()
SECOND_FACTOR = SecondFactorSchema()

"""simplejwt's authentication with a check for revoked tokens."""

from typing import Any

from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import InvalidToken

from benchmarks.peers.drf.models import RevokedToken


class RevocableJWTAuthentication(JWTAuthentication):
    def get_validated_token(self, raw_token: bytes) -> Any:
        token = super().get_validated_token(raw_token)
        if RevokedToken.objects.filter(jti=token["jti"]).exists():
            raise InvalidToken
        return token

"""Serializers."""

from typing import Any

from django.db.models import Max
from rest_framework import serializers
from rest_framework_simplejwt.serializers import TokenObtainPairSerializer

from benchmarks import dataset
from benchmarks.peers.drf.models import Task
from benchmarks.peers.rules import POSITION, PUBLIC_URL, ZONES, update_timestamps


class LoginSerializer(TokenObtainPairSerializer):
    def validate(self, attrs: Any) -> Any:
        pair = super().validate(attrs)
        return {
            "access_token": pair["access"],
            "refresh_token": pair["refresh"],
            "token_type": "Bearer",
        }


class PriorityField(serializers.Field):
    """A priority by its name."""

    default_error_messages = {"invalid": "Must be one of the priorities."}

    def to_representation(self, value: int) -> str:
        return Task.Priority(value).name

    def to_internal_value(self, data: Any) -> int:
        if not isinstance(data, str) or data not in Task.Priority.__members__:
            self.fail("invalid")
        return Task.Priority[data].value


class TaskSerializer(serializers.ModelSerializer):
    priority = PriorityField(required=False)
    description = serializers.CharField(
        max_length=20_000, required=False, allow_null=True, allow_blank=True
    )
    position = serializers.RegexField(rf"^{POSITION.pattern}\Z", required=False)
    created_by = serializers.IntegerField(source="created_by_id", read_only=True)
    url = serializers.SerializerMethodField()

    class Meta:
        model = Task
        fields = [
            "id",
            "title",
            "description",
            "status",
            "priority",
            "due_date",
            "due_at",
            "time_zone",
            "position",
            "version",
            "created_by",
            "created_at",
            "updated_at",
            "completed_at",
            "deleted_at",
            "url",
        ]
        read_only_fields = ["version", "created_at", "updated_at", "completed_at"]

    def get_url(self, task: Task) -> str:
        return f"{PUBLIC_URL}/api/v1/tasks/{task.id}"

    def validate_time_zone(self, name: str | None) -> str | None:
        if name is not None and name not in ZONES:
            raise serializers.ValidationError("Must be an IANA time zone.")
        return name

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.get("due_date") and attrs.get("due_at"):
            raise serializers.ValidationError("Either due_date or due_at.")
        return attrs

    def create(self, validated_data: dict[str, Any]) -> Task:
        user = self.context["request"].user
        if "position" not in validated_data:
            last = Task.objects.filter(created_by=user).aggregate(position=Max("position"))
            validated_data["position"] = dataset.next_position(last["position"])
        task = Task(**validated_data, created_by=user)
        update_timestamps(task, {"status", *validated_data})
        task.save()
        return task

    def update(self, instance: Task, validated_data: dict[str, Any]) -> Task:
        for name, value in validated_data.items():
            setattr(instance, name, value)
        instance.version += 1
        update_timestamps(instance, validated_data)
        instance.save()
        return instance

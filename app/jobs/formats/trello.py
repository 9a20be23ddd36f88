"""The JSON export of a Trello board. Archived cards and templates are skipped."""

from collections.abc import Mapping
from typing import Any

from app.jobs.formats.base import RowSkipped
from app.jobs.formats.json_tool import Item, JsonToolReader, Outline, due_of, text_of
from app.jobs.formats.json_walker import EACH
from app.tasks.models import Status

READ = frozenset({"name", "desc", "due", "dueComplete", "closed", "isTemplate"})
NOT_READ = frozenset(
    {
        *("id", "nodeId", "address", "agent", "attachments", "badges", "board", "cardRole"),
        *("checkItemStates", "checklists", "coordinates", "cover", "creationMethod"),
        *("creationMethodError", "creationMethodLoadingStartedAt", "customFieldItems"),
        *("dateClosed", "dateCompleted", "dateLastActivity", "dateViewedByCurrentMember"),
        *("descData", "dueReminder", "email", "externalSource", "faviconUrl", "idAttachmentCover"),
        *("idBoard", "idChecklists", "idLabels", "idList", "idMemberCreator", "idMembers"),
        *("idMembersVoted", "idOrganization", "idShort", "ixUpdate", "labels", "limits"),
        *("locationName", "manualCoverAttachment", "members", "mirrorSourceId"),
        *("mirrorSourceNodeId", "originalDesc", "originalName", "pinned", "pluginData", "pos"),
        *("shortLink", "shortUrl", "sourceUrl", "start", "staticMapUrl", "stickers"),
        *("subscribed", "url", "urlSource", "urlSourceText"),
    }
)


def convert(item: Item, time_zone: str) -> Mapping[str, Any]:
    """Return the fields of a card."""
    if item.get("closed"):
        raise RowSkipped("archived card")
    if item.get("isTemplate"):
        raise RowSkipped("card template")
    return {
        **due_of(item, "due", time_zone),
        "title": text_of(item, "name"),
        "description": text_of(item, "desc") or None,
        "status": Status.completed if item.get("dueComplete") else Status.pending,
    }


def _is_export(outline: Outline) -> bool:
    names = {"cards", "idBoard", "idOrganization", "shortLink"}
    return not outline.is_array and not names.isdisjoint(outline.names)


READER = JsonToolReader(_is_export, lambda _: ("cards", EACH), READ, NOT_READ, convert)

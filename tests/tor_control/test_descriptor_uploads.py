import pytest

from tor_control.control_port import HsDescEvent
from tor_control.descriptor_uploads import DescriptorUploads

SERVICE = "a" * 56
FIRST, SECOND = "first", "second"


def created(descriptor: str) -> HsDescEvent:
    return HsDescEvent("CREATED", SERVICE, descriptor=descriptor)


def upload(descriptor: str) -> HsDescEvent:
    return HsDescEvent("UPLOAD", SERVICE, descriptor=descriptor)


UPLOADED = HsDescEvent("UPLOADED", SERVICE)
REFUSED = HsDescEvent("FAILED", SERVICE, "UPLOAD_REJECTED")
BOTH_CREATED = [created(FIRST), created(SECOND)]


def after(*events: HsDescEvent) -> DescriptorUploads:
    uploads = DescriptorUploads(SERVICE)
    for event in events:
        uploads.count(event)
    return uploads


@pytest.mark.parametrize(
    "events",
    [
        [*BOTH_CREATED, upload(FIRST), upload(SECOND), UPLOADED, UPLOADED],
        [*BOTH_CREATED, upload(FIRST), UPLOADED, upload(SECOND), UPLOADED],
        # One directory that refuses does not hide the service.
        [*BOTH_CREATED, upload(FIRST), upload(SECOND), REFUSED, UPLOADED],
        # A tor that says nothing of CREATED.
        [upload(FIRST), UPLOADED],
    ],
)
def test_complete(events: list[HsDescEvent]) -> None:
    for count in range(len(events)):
        assert not after(*events[:count]).is_complete
    assert after(*events).is_complete
    assert not after(*events).is_hopeless


@pytest.mark.parametrize(
    "events",
    [
        [],
        BOTH_CREATED,
        [*BOTH_CREATED, upload(FIRST), UPLOADED],  # the second was not handed out
        [*BOTH_CREATED, upload(FIRST), upload(SECOND), UPLOADED],  # one has not answered
        [upload(FIRST), REFUSED],
    ],
)
def test_not_complete(events: list[HsDescEvent]) -> None:
    assert not after(*events).is_complete


def test_hopeless_until_another_is_asked() -> None:
    assert not after().is_hopeless
    assert not after(upload(FIRST)).is_hopeless
    assert not after(upload(FIRST), upload(FIRST), REFUSED).is_hopeless
    assert after(upload(FIRST), upload(FIRST), REFUSED, REFUSED).is_hopeless
    assert not after(upload(FIRST), REFUSED, upload(FIRST)).is_hopeless
    assert not after(upload(FIRST), REFUSED, upload(FIRST), UPLOADED).is_hopeless


def test_what_is_said_of_others_and_of_downloads_does_not_count() -> None:
    uploads = after(
        upload(FIRST),
        HsDescEvent("UPLOADED", "b" * 56),
        HsDescEvent("UPLOAD", "b" * 56, descriptor=SECOND),
        HsDescEvent("REQUESTED", SERVICE, descriptor=FIRST),
        HsDescEvent("RECEIVED", SERVICE, descriptor=FIRST),
        HsDescEvent("FAILED", SERVICE, "NOT_FOUND", FIRST),
        HsDescEvent("FAILED", SERVICE, "QUERY_RATE_LIMITED", FIRST),
    )
    assert (uploads.taken, uploads.failed) == (0, 0)
    uploads.count(UPLOADED)
    assert uploads.is_complete

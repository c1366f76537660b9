"""What a connection has to send, in order, ready for ``sendmsg``.

Rules:

- Small messages are gathered in one buffer, so that many of them are one piece of output.
- A block is never copied: its header joins the small messages before it, the block stands alone.
"""


class SendQueue:
    """Bytes waiting to be sent.

    Attributes:
        size: how many bytes wait.
    """

    __slots__ = ("_parts", "_small", "size")

    def __init__(self) -> None:
        self._parts: list[bytes | memoryview] = []
        self._small = bytearray()
        self.size = 0

    def add(self, data: bytes) -> None:
        """Queue something small; it is copied."""
        self._small += data
        self.size += len(data)

    def add_block(self, header: bytes, block: bytes | memoryview) -> None:
        """Queue a block behind its header. The block must not change until it is sent."""
        small = self._small
        if small:
            small += header
            self._parts.append(bytes(small))
            small.clear()
        else:
            self._parts.append(header)
        self._parts.append(block)
        self.size += len(header) + len(block)

    def take(self) -> list[bytes | memoryview]:
        """Take everything out. There may be more parts than one ``sendmsg`` accepts."""
        if self._small:
            self._parts.append(bytes(self._small))
            self._small.clear()
        parts = self._parts
        self._parts = []
        self.size = 0
        return parts

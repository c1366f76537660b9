from collections.abc import Sequence

import pytest

from torrent_onion.core.bencoding import encode
from torrent_onion.core.metainfo import Info, parse_info
from torrent_onion.core.piece_layout import BLOCK_SIZE, Block
from torrent_onion.protocol.http import ContentRange, ResponseHead, UrlRefused, parse_url
from torrent_onion.protocol.web_seed import (
    Answer,
    FilePart,
    file_parts,
    file_url,
    judge_answer,
)

PIECE = BLOCK_SIZE


def single(name: str = "file.iso", length: int = 3 * PIECE) -> Info:
    pieces = bytes(20 * -(-length // PIECE))
    return parse_info(
        encode(
            {b"name": name.encode(), b"length": length, b"piece length": PIECE, b"pieces": pieces}
        )
    )


def several(*files: tuple[Sequence[str], int, bytes], name: str = "folder") -> Info:
    total = sum(length for _, length, _ in files)
    return parse_info(
        encode(
            {
                b"name": name.encode(),
                b"piece length": PIECE,
                b"pieces": bytes(20 * -(-total // PIECE)),
                b"files": [
                    {b"path": [part.encode() for part in path], b"length": length, b"attr": attr}
                    for path, length, attr in files
                ],
            }
        )
    )


class TestUrl:
    @pytest.mark.parametrize(
        ("base", "expected"),
        [
            ("http://m.example/pub/file.iso", "http://m.example/pub/file.iso"),
            ("http://m.example/pub/other", "http://m.example/pub/other"),
            ("http://m.example/get?id=7", "http://m.example/get?id=7"),
            ("http://m.example/pub/", "http://m.example/pub/my%20%231%3F.iso"),
            ("http://m.example", "http://m.example/my%20%231%3F.iso"),
        ],
    )
    def test_one_file(self, base: str, expected: str) -> None:
        assert str(file_url(parse_url(base), single("my #1?.iso"), 0)) == expected

    @pytest.mark.parametrize("base", ["http://m.example/pub/", "http://m.example/pub"])
    def test_the_example_of_bep_19(self, base: str) -> None:
        info = several((["Readme.txt"], 949, b""), name="michael")
        assert str(file_url(parse_url(base), info, 0)) == "http://m.example/pub/michael/Readme.txt"

    def test_names_in_other_scripts_and_with_odd_characters(self) -> None:
        info = several((["один", "a/b%20?#&+ .txt"], 1, b""), name="最後")
        assert str(file_url(parse_url("https://m.example/"), info, 0)) == (
            "https://m.example/%E6%9C%80%E5%BE%8C/%D0%BE%D0%B4%D0%B8%D0%BD/"
            "a%2Fb%2520%3F%23%26%2B%20.txt"
        )

    @pytest.mark.parametrize("name", ["..", ".", ""])
    def test_names_that_mean_another_place(self, name: str) -> None:
        for info in (several(([name, "x"], 1, b"")), several((["x"], 1, b""), name=name)):
            with pytest.raises(UrlRefused, match="name"):
                file_url(parse_url("http://m.example/pub/"), info, 0)
        with pytest.raises(UrlRefused, match="name"):
            file_url(parse_url("http://m.example/pub/"), single(name), 0)


class TestParts:
    def test_one_file_is_one_part(self) -> None:
        blocks = [Block(1, 0, PIECE), Block(2, 0, PIECE)]
        assert file_parts(single(), blocks) == [FilePart(0, PIECE, 2 * PIECE)]

    def test_a_piece_with_many_files_and_padding(self) -> None:
        info = several(
            (["a"], 10, b""),
            (["empty"], 0, b""),
            (["b"], 20, b""),
            ([".pad", "1"], PIECE - 30, b"p"),
            (["c"], 5, b""),
        )
        assert file_parts(info, [Block(0, 0, PIECE), Block(1, 0, 5)]) == [
            FilePart(0, 0, 10),
            FilePart(2, 0, 20),
            FilePart(3, 0, PIECE - 30, is_pad=True),
            FilePart(4, 0, 5),
        ]

    def test_nothing(self) -> None:
        assert file_parts(single(), []) == []


class TestAnswer:
    PART = FilePart(0, 10, 5)

    @pytest.mark.parametrize(
        ("head", "expected"),
        [
            (ResponseHead(206, 5, content_range=ContentRange(10, 15, 100)), Answer.PART),
            (ResponseHead(206, None, content_range=ContentRange(10, 15, None)), Answer.PART),
            (ResponseHead(206, 5), Answer.NOT_THERE),
            (ResponseHead(206, 4, content_range=ContentRange(10, 15, 100)), Answer.NOT_THERE),
            (ResponseHead(206, 5, content_range=ContentRange(9, 15, 100)), Answer.NOT_THERE),
            (ResponseHead(206, 5, content_range=ContentRange(10, 14, 100)), Answer.NOT_THERE),
            (ResponseHead(206, 5, content_range=ContentRange(10, 15, 99)), Answer.NOT_THERE),
            (ResponseHead(200, 100), Answer.WHOLE),
            (ResponseHead(200), Answer.WHOLE),
            (ResponseHead(200, 5), Answer.NOT_THERE),
            (ResponseHead(404), Answer.NOT_THERE),
            (ResponseHead(403), Answer.NOT_THERE),
            (ResponseHead(416), Answer.NOT_THERE),
            (ResponseHead(408), Answer.BUSY),
            (ResponseHead(429, retry_after=5), Answer.BUSY),
            (ResponseHead(503), Answer.BUSY),
            (ResponseHead(500), Answer.BUSY),
            (ResponseHead(204), Answer.BUSY),
            (ResponseHead(302), Answer.BUSY),
        ],
    )
    def test_what_it_is(self, head: ResponseHead, expected: Answer) -> None:
        assert judge_answer(head, self.PART, 100) is expected

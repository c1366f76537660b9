"""create, show and verify, from the command line to the disk and back."""

import io
import json
from hashlib import sha1
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from torrent_onion.cli.program import program
from torrent_onion.core.bencoding import Encodable, encode

ONION = "aoqqpp7tzyil4hlq3umoos6atft6jvrqtosq2xy53sdgiesvgg4bqead.onion"


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"a" * 100_000)
    (folder / "sub" / "b.txt").write_bytes(b"b" * 20_000)
    (folder / "sub" / "deep" / "żółć.txt").write_bytes(b"c")
    (folder / "empty").touch()
    return folder


def run(*arguments: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(program, [str(argument) for argument in arguments], input=stdin)


def events(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def torrent(documents: Path, tmp_path: Path) -> Path:
    path = tmp_path / "documents.torrent"
    result = run("create", documents, "--output", path, "--piece-size", 32768)
    assert result.exit_code == 0, result.stderr
    return path


class TestCreate:
    def test_says_where_the_file_is(self, documents: Path, tmp_path: Path) -> None:
        path = tmp_path / "x.torrent"
        result = run("create", documents, "--output", path)
        assert result.exit_code == 0
        assert result.stdout == f"{path}\n"
        assert path.is_file()
        assert not list(tmp_path.glob("*.part"))

    def test_json_names_the_info_hash(self, documents: Path, tmp_path: Path) -> None:
        path = tmp_path / "x.torrent"
        found = events(run("create", documents, "--output", path, "--json"))
        assert found[-1]["event"] == "complete"
        assert found[-1]["path"] == str(path)
        assert len(found[-1]["info_hash"]) == 40
        assert len(found[-1]["info_hash_v2"]) == 64
        assert found[-2]["event"] == "hashing"
        assert found[-2]["done"] == found[-2]["total"]

    def test_the_same_content_may_be_written_again(self, documents: Path, torrent: Path) -> None:
        again = run("create", documents, "--output", torrent, "--piece-size", 32768)
        assert again.exit_code == 0

    def test_another_torrent_is_not_overwritten(self, documents: Path, torrent: Path) -> None:
        before = torrent.read_bytes()
        result = run("create", documents, "--output", torrent, "--piece-size", 16384)
        assert result.exit_code == 1
        assert "--force" in result.stderr
        assert torrent.read_bytes() == before
        result = run("create", documents, "--output", torrent, "--piece-size", 16384, "--force")
        assert result.exit_code == 0
        assert torrent.read_bytes() != before

    def test_what_is_left_out_is_named(self, documents: Path, tmp_path: Path) -> None:
        (documents / ".secret").write_text("x")
        for number in range(12):
            (documents / f"{number}.txt~").touch()
        result = run("create", documents, "--output", tmp_path / "x.torrent")
        assert result.exit_code == 0
        assert ".secret" in result.stderr
        assert "and 3 more. Use --include-hidden" in result.stderr
        result = run("create", documents, "--output", tmp_path / "y.torrent", "--include-hidden")
        assert ".secret" not in result.stderr
        assert ".secret" in run("show", tmp_path / "y.torrent").stdout

    def test_what_no_option_brings_in_is_not_promised(
        self, documents: Path, tmp_path: Path
    ) -> None:
        (documents / "link").symlink_to("nowhere")
        result = run("create", documents, "--output", tmp_path / "x.torrent", "--include-hidden")
        assert "Left out: link (symbolic link)." in result.stderr
        assert "Use --include-hidden" not in result.stderr
        result = run("create", documents, "--output", tmp_path / "y.torrent", "--exclude", "*")
        assert "--exclude leaves nothing" in result.stderr

    def test_the_current_folder_has_a_name(
        self, documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(documents)
        assert run("create", ".", "--output", tmp_path / "x.torrent").exit_code == 0
        assert events(run("show", tmp_path / "x.torrent", "--json"))[0]["name"] == "documents"

    def test_a_folder_that_cannot_be_written_to_is_a_sentence(
        self, documents: Path, tmp_path: Path
    ) -> None:
        result = run("create", documents, "--output", tmp_path / "no" / "x.torrent")
        assert result.exit_code == 1
        assert len(result.stderr.splitlines()) == 1  # nothing has been hashed yet

    def test_the_torrent_file_is_not_put_into_what_is_shared(self, documents: Path) -> None:
        for command in ("create", "seed"):
            result = run(command, documents, "--output", documents / "x.torrent")
            assert result.exit_code == 1
            assert "be shared with it" in result.stderr
        assert not (documents / "x.torrent").exists()

    def test_all_that_can_be_said_is_shown_again(self, documents: Path, tmp_path: Path) -> None:
        path = tmp_path / "x.torrent"
        result = run(
            *("create", documents, "--output", path, "--format", "v1"),
            *("--tracker", "http://a.example/,http://b.example/", "--tracker", "http://c.example/"),
            *("--web-seed", "http://w.example/", "--private", "--comment", "Hello", "--quiet"),
        )
        assert (result.exit_code, result.stderr) == (0, "")
        (event,) = events(run("show", path, "--json"))
        assert event["trackers"] == [
            ["http://a.example/", "http://b.example/"],
            ["http://c.example/"],
        ]
        assert event["web_seeds"] == ["http://w.example/"]
        assert (event["private"], event["comment"], event["format"]) == (True, "Hello", "v1")
        assert event["could_identify"] == ["comment"]
        shown = run("show", path).stdout
        for words in ("Private:        yes", "Comment:        Hello", "http://w.example/"):
            assert words in shown

    def test_what_is_excluded_is_not_there_and_not_warned_of(
        self, documents: Path, tmp_path: Path
    ) -> None:
        path = tmp_path / "x.torrent"
        excluded = ("--exclude", "deep", "--exclude", "a.*")
        result = run("create", documents, "--output", path, *excluded, "--quiet")
        assert (result.exit_code, result.stderr) == (0, "")
        (event,) = events(run("show", path, "--json"))
        assert [file["path"] for file in event["files"]] == ["empty", "sub/b.txt"]

    def test_an_empty_folder_is_a_sentence(self, tmp_path: Path) -> None:
        result = run("create", tmp_path, "--output", tmp_path / "x.torrent")
        assert result.exit_code == 1
        assert result.stderr.startswith("Error: ")


class TestShow:
    def test_a_torrent_file(self, torrent: Path) -> None:
        result = run("show", torrent)
        assert result.exit_code == 0
        for words in (
            *("Torrent:        documents\n", "4 files, 120.0 kB", "hybrid", "6 of 32,768 bytes"),
            "Could identify: nothing beside its content",
            "documents/\n",
            " 100.0 kB    a.txt\n",
            "sub/\n",
            "  20.0 kB      b.txt\n",
            "deep/\n",
            "      1 B        żółć.txt\n",
            "      0 B    empty\n",
        ):
            assert words in result.stdout

    def test_the_same_for_programs(self, torrent: Path) -> None:
        (event,) = events(run("show", torrent, "--json"))
        assert event["event"] == "torrent"
        assert event["total"] == 120_001
        assert event["could_identify"] == []
        assert {"path": "sub/deep/żółć.txt", "length": 1} in event["files"]

    def test_one_file(self, documents: Path, tmp_path: Path) -> None:
        path = tmp_path / "one.torrent"
        run("create", documents / "a.txt", "--output", path)
        assert run("show", path).stdout.endswith("\n 100.0 kB  a.txt\n")

    def test_what_could_identify_somebody_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "telling.torrent"
        info: dict[bytes, Encodable] = {
            b"length": 1,
            b"name": b"x",
            b"piece length": 16384,
            b"pieces": b"a" * 20,
            b"source": b"somewhere",
        }
        path.write_bytes(
            encode(
                {
                    b"announce": b"http://tracker.example/key",
                    b"comment": b"hello \x1b[2J",
                    b"created by": b"program 1.0",
                    b"creation date": 1,
                    b"info": info,
                }
            )
        )
        result = run("show", path)
        assert "Could identify: comment, created by, creation date, info.source" in result.stdout
        assert "http://tracker.example/key" in result.stdout
        assert "hello \ufffd[2J" in result.stdout

    def test_a_magnet_link(self) -> None:
        link = f"magnet:?xt=urn:btih:{'ab' * 20}&dn=some%1bthing&x.pe={ONION}:12345"
        result = run("show", link)
        assert result.exit_code == 0
        assert "some\ufffdthing" in result.stdout
        assert f"{ONION}:12345" in result.stdout
        (event,) = events(run("show", link, "--json"))
        assert event["info_hash"] == "ab" * 20
        assert event["peers"] == [f"{ONION}:12345"]

    def test_standard_input(self, torrent: Path) -> None:
        assert run("show", "-", stdin=torrent.read_bytes()).stdout == run("show", torrent).stdout
        link = f"magnet:?xt=urn:btih:{'ab' * 20}\n"
        assert "ab" * 20 in run("show", "-", stdin=link.encode()).stdout

    def test_what_will_not_be_used_is_told_in_a_line(self) -> None:
        link = (
            f"magnet:?xt=urn:btih:{'ab' * 20}&tr=udp%3A%2F%2Fu.example%3A1&tr=wss%3A%2F%2Fw.example"
        )
        result = run("show", f"{link}&tr=http%3A%2F%2Ft.example%2Fannounce")
        [line] = [one for one in result.stdout.splitlines() if one.startswith("Not used")]
        assert "udp://u.example:1 (Tor carries no UDP)" in line
        assert "wss://w.example (WebSocket is for browsers only)" in line
        assert "t.example/" not in line


class TestSource:
    @pytest.mark.parametrize(
        ("source", "words"),
        [
            ("http://example.org/x.torrent", "not fetched from the web"),
            ("HTTPS://example.org/x.torrent", "Download it with Tor Browser"),
            ("ab" * 20, "magnet:?"),
            ("/no/such/file.torrent", "There is no file"),
            ("/", "is a folder"),
            ("", "An empty name"),
            ("magnet:?dn=x", ""),
        ],
    )
    def test_what_is_no_torrent_is_one_sentence_and_1(self, source: str, words: str) -> None:
        result = run("show", source)
        assert result.exit_code == 1
        assert result.stdout == ""
        assert words in result.stderr
        assert len(result.stderr.splitlines()) == 1

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"", "is empty"),
            (b"hello\n", "is a text file"),
            (b"<!DOCTYPE html><p>no", "is a web page"),
            (b"\x89PNG\r\n\x1a\n\0\0", "is something else"),
            (b"d4:infoi1ee", ""),
            (b"d", ""),
        ],
    )
    def test_files_that_are_none(self, content: bytes, words: str, tmp_path: Path) -> None:
        path = tmp_path / "x"
        path.write_bytes(content)
        result = run("show", path)
        assert result.exit_code == 1
        assert words in result.stderr
        assert len(result.stderr.splitlines()) == 1

    def test_reading_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("torrent_onion.cli.sources.MAX_TORRENT_FILE", 10)
        result = run("show", "-", stdin=io.BytesIO(b"d" * 11).read())
        assert result.exit_code == 1
        assert "too large" in result.stderr


class TestVerify:
    def test_all_is_right(self, torrent: Path, documents: Path) -> None:
        for where in (documents, documents.parent):
            result = run("verify", torrent, where)
            assert result.exit_code == 0, result.stderr
            assert result.stdout == "All of it is right: 4 files, 120.0 kB.\n"

    def test_bad_and_missing_files_are_named(self, torrent: Path, documents: Path) -> None:
        (documents / "a.txt").write_bytes(b"!" + b"a" * 99_999)
        (documents / "empty").unlink()
        result = run("verify", torrent, documents)
        assert result.exit_code == 1
        assert result.stdout == (
            f"bad      {documents / 'a.txt'}\nmissing  {documents / 'empty'}\n"
        )
        assert "2 of 4 files" in result.stderr
        found = events(run("verify", torrent, documents, "--json"))
        assert {
            "event": "file",
            "path": str(documents / "empty"),
            "state": "missing",
        } in found
        assert found[-1]["event"] == "error"
        assert found[-1]["code"] == 1

    def test_nothing_there(self, torrent: Path, tmp_path: Path) -> None:
        other = tmp_path / "other"
        other.mkdir()
        result = run("verify", torrent, other)
        assert result.exit_code == 1
        assert "4 of 4 files" in result.stderr

    def test_originals_are_found_by_their_own_names(self, tmp_path: Path) -> None:
        """Whose names a download would change, in the folder and from the folder above it."""
        odd = tmp_path / "odd: names"
        for name in ("a:b", "con", "fine", "folder. /c"):
            (odd / name).parent.mkdir(parents=True, exist_ok=True)
            (odd / name).write_text(name)
        torrent = tmp_path / "odd.torrent"
        assert run("create", odd, "--output", torrent).exit_code == 0
        for where in (odd, odd.parent):
            result = run("verify", torrent, where)
            assert result.exit_code == 0, result.stdout
        (odd / "con").unlink()
        assert run("verify", torrent, odd.parent).stdout == f"missing  {odd / 'con'}\n"

    def test_a_download_is_found_by_the_names_that_it_was_given(self, tmp_path: Path) -> None:
        odd, got = tmp_path / "seed" / "odd", tmp_path / "odd"
        odd.mkdir(parents=True)
        got.mkdir()
        for name, safe in (("a:b", "a_b"), ("con", "_con"), ("fine", "fine")):
            (odd / name).write_text(name)
            (got / safe).write_text(name)
        torrent = tmp_path / "odd.torrent"
        assert run("create", odd, "--output", torrent).exit_code == 0
        for where in (got, got.parent):
            result = run("verify", torrent, where)
            assert result.exit_code == 0, result.stdout

    @pytest.mark.parametrize("path", [[b"..", b"outside"], [b"a/../../outside"]])
    def test_names_that_lead_out_of_the_folder_are_not_followed(
        self, path: list[Encodable], tmp_path: Path
    ) -> None:
        (tmp_path / "here" / "x" / "a").mkdir(parents=True)
        (tmp_path / "here" / "outside").write_bytes(b"hello")
        info: dict[bytes, Encodable] = {
            b"files": [{b"length": 5, b"path": path}],
            b"name": b"x",
            b"piece length": 16384,
            b"pieces": sha1(b"hello").digest(),
        }
        torrent = tmp_path / "x.torrent"
        torrent.write_bytes(encode({b"info": info}))
        for where in (tmp_path / "here", tmp_path / "here" / "x"):
            result = run("verify", torrent, where)
            assert result.exit_code == 1
            assert "missing" in result.stdout

    def test_a_magnet_link_has_no_hashes(self, tmp_path: Path) -> None:
        path = tmp_path / "x"
        path.write_text(f"magnet:?xt=urn:btih:{'ab' * 20}")
        result = run("verify", path, tmp_path)
        assert result.exit_code == 1
        assert "magnet" in result.stderr

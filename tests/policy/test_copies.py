from torrent_onion.policy.copies import Copies

SIZE = 1000


def test_who_says_so_counts_once_however_many_connections_it_has() -> None:
    copies = Copies()
    for _ in range(4):
        copies.completed("one")
    copies.completed("another")
    assert copies.number == 2


def test_who_was_sent_everything_and_left_counts() -> None:
    copies = Copies()
    copies.left("one", SIZE, enough=SIZE, is_last=True)
    assert copies.number == 1


def test_two_halves_are_no_copy() -> None:
    copies = Copies()
    copies.left("one", SIZE // 2, enough=SIZE, is_last=True)
    copies.left("another", SIZE // 2, enough=SIZE, is_last=True)
    assert copies.number == 0


def test_what_went_out_on_several_connections_of_one_person_is_added_up() -> None:
    copies = Copies()
    copies.left("one", SIZE // 2, enough=SIZE, is_last=False)
    assert copies.number == 0
    copies.left("one", SIZE // 2, enough=SIZE, is_last=True)
    assert copies.number == 1


def test_who_said_so_and_leaves_is_not_counted_again() -> None:
    copies = Copies()
    copies.completed("one")
    copies.left("one", SIZE, enough=SIZE, is_last=False)
    copies.left("one", SIZE, enough=SIZE, is_last=True)
    assert copies.number == 1


def test_nothing_is_remembered_of_who_is_gone() -> None:
    copies = Copies()
    copies.left("one", SIZE - 1, enough=SIZE, is_last=True)
    copies.left("one", SIZE - 1, enough=SIZE, is_last=True)
    assert copies.number == 0

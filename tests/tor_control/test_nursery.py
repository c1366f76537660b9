import pytest
import trio

from tor_control.nursery import open_plain_nursery


async def _fail(error: BaseException) -> None:
    raise error


async def test_an_exception_of_the_body_comes_out_as_it_went_in() -> None:
    cause = KeyError()
    with pytest.raises(ValueError, match="body") as caught:
        async with open_plain_nursery():
            raise ValueError("body") from cause
    assert caught.value.__cause__ is cause


async def test_an_exception_of_a_task_ends_the_body() -> None:
    async def body() -> None:
        async with open_plain_nursery() as nursery:
            nursery.start_soon(_fail, ValueError("task"))
            await trio.sleep_forever()

    with pytest.raises(ValueError, match="task"):
        await body()


async def test_several_exceptions_stay_together() -> None:
    with pytest.RaisesGroup(ValueError, KeyError):
        async with open_plain_nursery() as nursery:
            nursery.start_soon(_fail, ValueError())
            nursery.start_soon(_fail, KeyError())


async def test_cancelling_from_outside_works() -> None:
    with trio.CancelScope() as scope:
        async with open_plain_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_a_group_of_the_body_stays_a_group() -> None:
    with pytest.RaisesGroup(ValueError):
        async with open_plain_nursery():
            raise ExceptionGroup("", [ValueError()])

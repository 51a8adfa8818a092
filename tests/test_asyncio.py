"""The same calls under asyncio: its loop keeps running, and no call needs a thread of its own."""

from __future__ import annotations

import ast
import asyncio
import threading
from typing import Any

import cirq
import duet
import pytest
from services import (
    FLIP,
    LOCAL,
    QUBIT,
    REMOTE,
    ROTATION,
    Counted,
    angles,
    drive,
    in_background,
    jobs_in,
    sessions_in,
)

from cirq_azure_sessions import (
    AzureSessionSampler,
    AzureWorkspace,
    JobFailed,
    LocalWorkspace,
    ManualClock,
    PoolClosed,
    SessionPool,
)
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.workspaces.local import JobPace

# Seconds of real time after which a call is taken to hang.
_HANG_TIMEOUT = 40.0


def _run(story: Any) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(_HANG_TIMEOUT):
            return await story

    return asyncio.run(bounded())


class _Standing:
    """A pool whose jobs run until the test moves the clock."""

    def __init__(self, **options: Any) -> None:
        self.clock = ManualClock(auto_advance=False)
        self.workspace = Counted(
            clock=self.clock, pace=lambda request: JobPace(run=100.0), **options
        )
        self.pool = SessionPool(self.workspace, clock=self.clock)

    async def jobs(self, count: int) -> None:
        """Returns once `count` jobs run."""
        while self.pool.get_stats()["jobs_running"] < count:
            await asyncio.sleep(0.001)

    async def drive(self, *tasks: Any) -> Any:
        """Moves the clock until the tasks are done."""
        gathered = asyncio.gather(*tasks)
        while not gathered.done():
            self.clock.advance(1.0)
            await asyncio.sleep(0.001)
        return await gathered


def test_every_call_can_be_awaited() -> None:
    async def story() -> None:
        async with SessionPool(Counted()) as pool:
            for target in (LOCAL, REMOTE):
                sampler = AzureSessionSampler(target, pool=pool)
                assert (await sampler.run_async(FLIP, repetitions=3)).repetitions == 3
                assert len(await sampler.run_sweep_async(ROTATION, angles(4), 3)) == 4
                batch = await sampler.run_batch_async([FLIP, ROTATION], [None, angles(2)], [3, 4])
                assert [[r.repetitions for r in results] for results in batch] == [[3], [4, 4]]
        with pytest.raises(PoolClosed):
            pool.session(LOCAL)

    _run(story())


def test_a_stream_is_an_asynchronous_iterator() -> None:
    async def story() -> None:
        async with SessionPool(Counted()) as pool:
            sampler = AzureSessionSampler(REMOTE, pool=pool)
            points = [i async for i, _ in sampler.stream_sweep_async(ROTATION, angles(5), 2)]
            assert sorted(points) == list(range(5))

    _run(story())


def test_a_stream_that_is_left_ends_its_sweep() -> None:
    async def story() -> None:
        workspace = Counted()
        async with SessionPool(workspace) as pool:
            sampler = AzureSessionSampler(REMOTE, pool=pool, max_concurrent_jobs=2)
            stream = sampler.stream_sweep_async(ROTATION, angles(50), 2)
            async for _ in stream:
                break
            await stream.aclose()  # type: ignore[attr-defined]  # a generator
            assert pool.get_stats()["jobs_running"] == 0
        assert len(workspace.submitted) < 20

    _run(story())


def test_pools_and_samplers_are_asynchronous_context_managers() -> None:
    async def story() -> None:
        workspace = LocalWorkspace()
        async with AzureSessionSampler(LOCAL, workspace=workspace) as sampler:
            await sampler.run_async(FLIP)
        assert [session.status for session in sessions_in(workspace)] == ["Succeeded"]
        with pytest.raises(PoolClosed):
            await sampler.run_async(FLIP)

    _run(story())


def test_calls_are_awaited_on_a_real_connection() -> None:
    async def story(server: EmulatorServer) -> None:
        async with SessionPool(server.workspace()) as pool:
            sampler = AzureSessionSampler(REMOTE, pool=pool)
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(sampler.run_sweep_async(ROTATION, angles(3), 5))
                    for _ in range(4)
                ]
            assert [len(task.result()) for task in tasks] == [3] * 4
        assert (server.requests["open"], server.requests["close"]) == (1, 1)

    with EmulatorServer() as server:
        _run(story(server))


def test_the_callers_loop_runs_on_while_it_waits() -> None:
    async def story() -> None:
        service = _Standing()
        sampler = AzureSessionSampler(LOCAL, pool=service.pool)
        call = asyncio.ensure_future(sampler.run_async(FLIP))
        await service.jobs(1)
        for _ in range(100):
            await asyncio.sleep(0)
        assert not call.done()
        (result,) = await service.drive(call)
        assert result.repetitions == 1
        await service.drive(asyncio.to_thread(service.pool.close))

    _run(story())


class _Slow(cirq.Gate):
    """A gate whose translation takes as long as the test likes."""

    def __init__(self, released: threading.Event) -> None:
        self._released = released

    def _num_qubits_(self) -> int:
        return 1

    def _decompose_(self, qubits: Any) -> Any:
        assert self._released.wait(_HANG_TIMEOUT), "the caller's loop stands still"
        return cirq.X(*qubits)


@pytest.mark.parametrize("call", ["run_async", "run_sweep_async", "run_batch_async", "stream"])
def test_the_callers_loop_runs_on_while_a_circuit_is_translated(call: str) -> None:
    async def story() -> None:
        released = threading.Event()
        slow = cirq.Circuit(_Slow(released).on(QUBIT), cirq.measure(QUBIT, key="m"))

        async def collect(sampler: AzureSessionSampler) -> list[Any]:
            return [result async for _, result in sampler.stream_sweep_async(slow, None, 3)]

        async with SessionPool(Counted()) as pool:
            sampler = AzureSessionSampler(REMOTE, pool=pool)
            calls: dict[str, Any] = {
                "run_async": lambda: sampler.run_async(slow, repetitions=3),
                "run_sweep_async": lambda: sampler.run_sweep_async(slow, None, 3),
                "run_batch_async": lambda: sampler.run_batch_async([slow], None, 3),
                "stream": lambda: collect(sampler),
            }
            pending = asyncio.ensure_future(calls[call]())
            for _ in range(100):
                await asyncio.sleep(0)
            assert not pending.done()
            released.set()
            await pending

    _run(story())


def test_a_call_that_is_cancelled_while_its_circuit_is_translated_submits_nothing() -> None:
    async def story() -> None:
        released, workspace = threading.Event(), Counted()
        slow = cirq.Circuit(_Slow(released).on(QUBIT), cirq.measure(QUBIT, key="m"))
        async with SessionPool(workspace) as pool:
            sampler = AzureSessionSampler(REMOTE, pool=pool)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await sampler.run_async(slow, repetitions=3)
            released.set()
            # The sampler is as good as before.
            assert (await sampler.run_async(FLIP, repetitions=3)).repetitions == 3
        assert len(workspace.submitted) == 1

    _run(story())


def test_seeds_follow_the_order_of_the_calls() -> None:
    async def sample() -> list[Any]:
        async with SessionPool(LocalWorkspace()) as pool:
            sampler = AzureSessionSampler(LOCAL, pool=pool, seed=7)
            calls = [sampler.run_sweep_async(ROTATION, angles(3), 20) for _ in range(20)]
            return list(await asyncio.gather(*calls))

    assert _run(sample()) == _run(sample())


def test_a_web_server_answers_while_two_hundred_requests_wait_for_jobs() -> None:
    pytest.importorskip("fastapi", reason="the test extra brings fastapi")
    httpx = pytest.importorskip("httpx", reason="the test extra brings httpx")
    from fastapi import FastAPI

    service = _Standing()
    sampler = AzureSessionSampler(REMOTE, pool=service.pool, max_concurrent_jobs=200)
    app = FastAPI()

    async def sample(angle: float) -> dict[str, Any]:
        result = await sampler.run_async(ROTATION, {"angle": angle}, repetitions=5)
        return {"angle": result.params.param_dict["angle"], "session": result.session_id}

    async def health() -> str:
        return "well"

    # Not by decorators: these annotations are strings, and FastAPI reads them.
    sample.__annotations__ = {"angle": float, "return": dict[str, Any]}
    app.get("/sample")(sample)
    app.get("/health")(health)

    async def story() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            threads = threading.active_count()
            requests = [
                asyncio.ensure_future(client.get("/sample", params={"angle": number / 100}))
                for number in range(200)
            ]
            await service.jobs(200)
            assert (await client.get("/health")).json() == "well"
            assert threading.active_count() <= threads + 20
            answers = [answer.json() for answer in await service.drive(*requests)]
        assert [answer["angle"] for answer in answers] == [number / 100 for number in range(200)]
        assert len({answer["session"] for answer in answers}) == 1
        await service.drive(asyncio.to_thread(service.pool.close))

    _run(story())


def test_a_cell_of_a_notebook_may_call_or_await() -> None:
    # IPython runs each cell on a loop that is there already and goes on afterwards.
    loop = asyncio.new_event_loop()
    with SessionPool(Counted()) as pool:
        names: dict[str, Any] = {"sampler": AzureSessionSampler(REMOTE, pool=pool), "flip": FLIP}
        for cell in ("sampler.run(flip)", "await sampler.run_async(flip)"):
            code = compile(f"result = {cell}", "cell", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

            async def run_cell(code: Any = code) -> None:
                if (pending := eval(code, names)) is not None:
                    await pending

            loop.run_until_complete(asyncio.wait_for(run_cell(), _HANG_TIMEOUT))
            assert names["result"].repetitions == 1
    loop.close()


def test_leaving_a_pool_does_not_block_the_callers_loop() -> None:
    async def story() -> None:
        service = _Standing()
        async with service.pool as pool:
            call = asyncio.ensure_future(AzureSessionSampler(LOCAL, pool=pool).run_async(FLIP))
            await service.jobs(1)
            leaving = asyncio.ensure_future(service.drive(call))
        assert (await leaving)[0].repetitions == 1
        assert pool.get_stats()["jobs_running"] == 0

    _run(story())


def test_a_thousand_calls_at_once_need_no_thread_each() -> None:
    async def story() -> None:
        service = _Standing()
        sampler = AzureSessionSampler(REMOTE, pool=service.pool, max_concurrent_jobs=1000)
        before = threading.active_count()
        calls = [asyncio.ensure_future(sampler.run_async(FLIP)) for _ in range(1000)]
        await service.jobs(1000)
        # The background loop, and the workers that run programs.
        assert threading.active_count() <= before + 20
        assert len(await service.drive(*calls)) == 1000
        await service.drive(asyncio.to_thread(service.pool.close))

    _run(story())


def test_timeout_of_the_caller_interrupts_only_its_call() -> None:
    async def story() -> None:
        service = _Standing()
        sampler = AzureSessionSampler(LOCAL, pool=service.pool, on_interrupt="cancel")
        other = asyncio.ensure_future(sampler.run_async(FLIP))
        await service.jobs(1)

        async def hasty() -> None:
            async with asyncio.timeout(None) as limit:
                loop = asyncio.get_running_loop()
                second = asyncio.ensure_future(service.jobs(2))
                second.add_done_callback(lambda _: limit.reschedule(loop.time()))
                await sampler.run_async(FLIP)

        with pytest.raises(TimeoutError):
            await hasty()
        statuses = sorted(job.status for job in jobs_in(service.workspace))
        assert statuses == ["Cancelled", "Executing"]
        await service.drive(other)
        await service.drive(asyncio.to_thread(service.pool.close))

    _run(story())


def test_a_cancelled_task_notes_its_jobs() -> None:
    async def story() -> None:
        service = _Standing()
        sampler = AzureSessionSampler(LOCAL, pool=service.pool)
        call = asyncio.ensure_future(sampler.run_async(FLIP))
        await service.jobs(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await call
        (job,) = jobs_in(service.workspace)
        assert job.id in "".join(getattr(cancelled.value, "__notes__", []))
        await service.drive(asyncio.to_thread(service.pool.close, cancel=True))

    _run(story())


def test_a_failure_in_a_task_group_ends_the_other_calls() -> None:
    class Failing(cirq.Sampler):
        def run_sweep(self, program: Any, params: Any, repetitions: int = 1) -> Any:
            raise KeyError("a mistake")

    async def story() -> None:
        service = _Standing(samplers={"local.failing": Failing()})
        good = AzureSessionSampler(LOCAL, pool=service.pool, on_interrupt="cancel")
        bad = AzureSessionSampler("local.failing", pool=service.pool)

        async def group() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(good.run_async(FLIP))
                await service.jobs(1)
                service.workspace._pace = None
                group.create_task(bad.run_async(FLIP))

        with pytest.raises(ExceptionGroup) as failed:
            await service.drive(group())
        assert failed.group_contains(JobFailed, match="a mistake")
        assert service.pool.get_stats()["jobs_running"] == 0
        await service.drive(asyncio.to_thread(service.pool.close))

    _run(story())


def test_duet_runs_inside_asyncio() -> None:
    async def story() -> None:
        async with SessionPool(Counted()) as pool:
            sampler = AzureSessionSampler(REMOTE, pool=pool)
            assert len(sampler.run_sweep(ROTATION, angles(3), 2)) == 3
            assert len(duet.run(sampler.run_sweep_async, ROTATION, angles(3), 2)) == 3
            assert len(sampler.run_batch([FLIP] * 3)) == 3

    _run(story())


def test_asyncio_runs_inside_duet() -> None:
    with SessionPool(Counted()) as pool:
        sampler = AzureSessionSampler(REMOTE, pool=pool)

        async def story() -> int:
            own = await sampler.run_sweep_async(ROTATION, angles(3), 2)
            inner = _run(sampler.run_sweep_async(ROTATION, angles(4), 2))
            return len(own) + len(inner)

        assert duet.run(story) == 7


def test_threads_duet_and_asyncio_share_one_sampler() -> None:
    clock = ManualClock(auto_advance=False)
    workspace = Counted(clock=clock, pace=lambda request: JobPace(run=10.0))
    pool = SessionPool(workspace, clock=clock)
    sampler = AzureSessionSampler(REMOTE, pool=pool, max_concurrent_jobs=2)
    calls = [
        in_background(sampler.run_sweep, ROTATION, angles(3), 2),
        in_background(duet.run, sampler.run_sweep_async, ROTATION, angles(3), 2),
        in_background(_run, sampler.run_sweep_async(ROTATION, angles(3), 2)),
    ]
    drive(clock, *calls)
    assert [len(call.result()) for call in calls] == [3, 3, 3]
    drive(clock, in_background(pool.close))
    assert len(set(workspace.submitted)) == 9


def test_one_sampler_serves_one_asyncio_loop_after_another() -> None:
    with SessionPool(Counted()) as pool:
        sampler = AzureSessionSampler(REMOTE, pool=pool)
        for _ in range(3):
            assert len(_run(sampler.run_sweep_async(ROTATION, angles(3), 2))) == 3
        assert pool.get_stats()["sessions_opened"] == 1


# Other event loops


def test_every_call_works_on_the_loop_of_uvloop() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def story() -> None:
        with EmulatorServer() as server:
            async with SessionPool(server.workspace()) as pool:
                sampler = AzureSessionSampler(REMOTE, pool=pool)
                assert (await sampler.run_async(FLIP)).repetitions == 1
                streamed = sampler.stream_sweep_async(ROTATION, angles(3), 2)
                assert len([index async for index, _ in streamed]) == 3
            # Its requests are sent from this loop.
            workspace = AzureWorkspace(server.workspace())
            assert len([job async for job in workspace.list_jobs()]) == 4
            await workspace.aclose()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(story(), _HANG_TIMEOUT))


def test_background_loops_do_not_ask_for_the_loop_of_the_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*args: object) -> None:
        raise RuntimeError("This loop belongs to the main thread.")

    for name in ("new_event_loop", "set_event_loop"):
        monkeypatch.setattr(asyncio, name, refuse)

    def run() -> cirq.Result:
        with EmulatorServer() as server, SessionPool(server.workspace()) as pool:
            return AzureSessionSampler(REMOTE, pool=pool).run(FLIP)

    assert in_background(run).result(_HANG_TIMEOUT).repetitions == 1

"""The commands `targets` and `quotas`."""

from __future__ import annotations

from dataclasses import replace

from command_line import Scene

from cirq_azure_sessions.emulator import EmulatorServer


def test_targets_are_listed(scene: Scene) -> None:
    rows = [line.split() for line in scene.call("targets").stdout.splitlines()]
    assert rows[0] == ["target", "availability", "queue"]
    assert ["ionq.simulator", "Available"] in [row[:2] for row in rows]
    by_id = {target["id"]: target for target in scene.read("targets")}
    assert by_id["ionq.simulator"]["provider"] == "ionq"


def test_targets_with_the_shortest_queue_come_first(scene: Scene) -> None:
    with EmulatorServer(realistic=True) as server:
        server.set_availability("qci.simulator", "Unavailable")
        listed = replace(scene, server=server).read("targets", "--sort", "queue")
    available = [each["average_queue_time"] for each in listed[:-1]]
    assert available == sorted(available)
    assert available[-1] > 3600.0
    assert listed[-1]["id"] == "qci.simulator"


def test_quotas_are_listed(scene: Scene) -> None:
    header = scene.call("quotas").stdout.splitlines()[0]
    words = ["provider", "and", "dimension", "scope", "used", "held", "limit"]
    assert header.split() == words
    assert {"dimension", "limit", "utilization"} <= set(scene.read("quotas")[0])

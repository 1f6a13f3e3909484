"""The worker: environments of one task, stepped one message at a time, results in shared memory.

A message is u32 length, u8 kind, u32 slot, payload (all little-endian); an answer is u32 length, u8 kind, payload. One message,
one answer. The end of the socket ends the process.
"""

import json
import mmap
import os
import signal
import socket
import struct

PROTOCOL = 1
HELLO, OPEN, RESET, STEP, DRAW = 1, 2, 3, 4, 5
READY, FRAME, DONE, PICTURE, FAILED = 101, 102, 103, 104, 200


class Slot:
    """One environment and its segment."""

    def __init__(self, adapter, path, sizes):
        obs, state, agents, masks = sizes
        total = agents * 8 + (obs + state) * 4 + masks + agents
        with open(path, "r+b") as file:
            memory = mmap.mmap(file.fileno(), total)
        at = 0

        def view(count, dtype):
            nonlocal at
            array = np.frombuffer(memory, dtype, count, at)
            at += array.nbytes
            return array

        rewards, seen, shown = view(agents, "<f8"), view(obs, "<f4"), view(state, "<f4")
        self.out = Views(seen, shown, rewards, view(masks, "u1"), view(agents, "u1"))
        self.adapter, self.drawn = adapter, False

    def prepare(self):
        self.out.avail[:] = 1
        self.out.alive[:] = 1
        self.out.rewards[:] = 0.0


class Worker:
    def __init__(self, link):
        self.link, self.slots, self.spare = link, {}, None

    def hello(self, payload):
        asked = json.loads(payload)
        if asked["protocol"] != PROTOCOL:
            raise Invalid(f"this worker speaks protocol {PROTOCOL}, Motley speaks {asked['protocol']}")
        self.kind, self.target, self.kwargs = asked["kind"], asked["target"], asked["kwargs"]
        self.spare = make(self.kind, self.target, self.kwargs)
        spec = self.spare.spec
        obs = self.spare.obs_at[-1]
        self.sizes = (obs, spec["state"] or obs, len(spec["agents"]), self.spare.mask_at[-1])
        return READY, json.dumps(spec).encode()

    def fresh(self):
        spare, self.spare = self.spare, None
        return spare or make(self.kind, self.target, self.kwargs)

    def open(self, slot, payload):
        self.slots[slot] = Slot(self.fresh(), payload.decode(), self.sizes)
        return DONE, b""

    def reset(self, slot, payload):
        at = self.slots[slot]
        if at.adapter is None:
            at.adapter, at.drawn = self.fresh(), False
        at.prepare()
        at.adapter.reset(struct.unpack("<Q", payload)[0], at.out)
        return FRAME, b"\0\0"

    def step(self, slot, payload):
        at = self.slots[slot]
        if at.adapter is None:
            raise Invalid("this environment failed: reset it first")
        at.prepare()
        status, won = at.adapter.step(np.frombuffer(payload, "<f4"), at.out)
        return FRAME, bytes((status, 0 if won is None else 1 + bool(won)))

    def draw(self, slot, payload):
        """Before an episode begins the environment may be made anew, as one that can be drawn."""
        at = self.slots[slot]
        between, width = struct.unpack("<BI", payload)
        if at.adapter is None or not (at.drawn or at.adapter.draws()):
            if not between:
                raise Invalid("this copy was not made to be drawn")
            self.drop(slot)
            at.adapter, at.drawn = make_drawn(self.kind, self.target, self.kwargs), True
            at.prepare()
            at.adapter.reset(0, at.out)
        image = at.adapter.picture(width)
        return PICTURE, struct.pack("<II", image.shape[1], image.shape[0]) + image.tobytes()

    def answer(self, kind, slot, payload):
        try:
            if kind == STEP:
                return self.step(slot, payload)
            if kind == RESET:
                return self.reset(slot, payload)
            if kind == DRAW:
                return self.draw(slot, payload)
            if kind == HELLO:
                return self.hello(payload)
            if kind == OPEN:
                return self.open(slot, payload)
            raise Invalid(f"unknown message {kind}")
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the environment raises costs one episode.
            if kind in (STEP, RESET):
                self.drop(slot)
            return FAILED, json.dumps(told(error), ensure_ascii=False).encode("utf-8", "replace")

    def drop(self, slot):
        """Closes an environment; its slot gets a new one at the next reset."""
        at = self.slots.get(slot)
        if at is not None and at.adapter is not None:
            adapter, at.adapter = at.adapter, None
            try:
                adapter.close()
            except (Exception, SystemExit):  # noqa: BLE001 - it is thrown away in any case.
                pass

    def receive(self, count):
        data = bytearray(count)
        view, got = memoryview(data), 0
        while got < count:
            n = self.link.recv_into(view[got:])
            if n == 0:
                raise EOFError
            got += n
        return bytes(data)

    def serve(self):
        while True:
            length, kind, slot = struct.unpack("<IBI", self.receive(9))
            kind, payload = self.answer(kind, slot, self.receive(length))
            self.link.sendall(struct.pack("<IB", len(payload), kind) + payload)


def main():
    link = socket.socket(fileno=os.dup(0))
    with open(os.devnull) as null:
        os.dup2(null.fileno(), 0)
    os.dup2(2, 1)  # Simulators print to standard output; Motley's own belongs to its results.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker = Worker(link)
    try:
        worker.serve()
    except (EOFError, ConnectionError):
        pass
    for slot in list(worker.slots):
        worker.drop(slot)
    os.killpg(0, signal.SIGKILL)  # With whatever simulators it has started.


main()

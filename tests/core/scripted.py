"""A loop for tests that waits for nothing: its events and its clock come from a script."""

from meantime._core.poller.scripted import ScriptedPoller
from meantime._core.sockets import CoreLoop


class ScriptedLoop(CoreLoop):
    """The compiled core on a ScriptedPoller, without the asyncio face."""

    def __init__(self):
        self.poller = ScriptedPoller()
        super().__init__(self.poller)
        self.own_fds = set(self.poller.armed)
        self.failures = []

    def time(self):
        return self.poller.now_s

    def call_exception_handler(self, situation):
        self.failures.append(situation)

    def close(self):
        self._close_core()

    def run(self):
        """Run until something calls stop()."""
        self._run()

    def run_turn(self):
        """Run one turn, which does not wait."""
        self.stop()
        self._run()

    def run_for(self, duration_s):
        """Run until the clock has gone on by so much."""
        self.call_later(duration_s, self.stop)
        self._run()

    @property
    def armed(self):
        """What is asked of the poller, without what the loop asks for itself."""
        return {fd: how for fd, how in self.poller.armed.items() if fd not in self.own_fds}

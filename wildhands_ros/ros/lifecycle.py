"""A managed node whose slow transitions block neither the executor nor its services.

rclpy's own LifecycleNode runs a transition inside of the service's callback, so a model that takes seconds to load would stop parameters,
diagnostics and the lifecycle's own queries. Here a transition's slow part is a job of another thread, for which the service waits as a
coroutine. An impossible transition, at which rclpy's callback raises and so ends the process, is answered with "no".
"""

from __future__ import annotations

import traceback
from concurrent.futures import Future
from contextlib import suppress

from lifecycle_msgs.srv import ChangeState
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.exceptions import InvalidHandle
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNodeMixin, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.task import Future as RclpyFuture


class ManagedNode(LifecycleNodeMixin, Node):
    """A lifecycle node; subclasses have rclpy's ``on_...`` callbacks, and ``prepare`` for what is slow in them."""

    def __init__(self, name: str, **options):
        """Takes rclpy's arguments of a node."""
        Node.__init__(self, name, **options)
        # A callback that waits holds its group: nothing else may need this one.
        self.waiting_group = ReentrantCallbackGroup()
        LifecycleNodeMixin.__init__(self, callback_group=self.waiting_group)
        self._service_change_state.callback = self._on_change_state

    @property
    def state_label(self) -> str:
        """The lifecycle's state: "unconfigured", "configuring", "inactive", "activating", "active", "finalized", ..."""
        return self._state_machine.current_state[1]

    def prepare(self, transition: int) -> Future | None:
        """Begins in another thread what is slow in a transition; its callback follows once that is done. None where nothing is slow."""

    async def change_state(self, transition: int) -> bool:
        """Goes through one transition (an id of lifecycle_msgs/Transition); False where it failed or is impossible now."""
        number, label = self._state_machine.current_state
        before = LifecycleState(label=label, state_id=number)
        try:
            self._state_machine.trigger_transition_by_id(transition, True)
        except rclpy_implementation.RCLError:
            self.get_logger().warning(f"transition {transition} is not possible in state {label}")
            return False
        if (job := self.prepare(transition)) is not None:
            await self._until_done(job)
        result = self._finish(before)
        if result is TransitionCallbackReturn.ERROR:
            self._finish(before)  # on_error
        return result is TransitionCallbackReturn.SUCCESS

    def _finish(self, before: LifecycleState) -> TransitionCallbackReturn:
        """The callback of the state that the machine is going through, and the step that its result means."""
        callback = self._callbacks.get(self._state_machine.current_state[0])
        try:
            result = callback(before) if callback else TransitionCallbackReturn.SUCCESS
        except Exception:
            self.get_logger().error(f"a bug, please report it:\n{traceback.format_exc()}")
            result = TransitionCallbackReturn.ERROR
        self._state_machine.trigger_transition_by_label(result.to_label(), True)
        return result

    async def _until_done(self, job: Future) -> None:
        executor = self.executor
        done = RclpyFuture(executor=executor)

        def wake(_) -> None:
            done.set_result(None)
            with suppress(InvalidHandle):  # it has been shut down
                executor.wake()

        job.add_done_callback(wake)
        await done

    async def _on_change_state(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        transition = request.transition.id
        if request.transition.label:
            try:
                transition = self._state_machine.get_transition_by_label(request.transition.label)
            except rclpy_implementation.RCLError:
                return response
        response.success = await self.change_state(transition)
        return response

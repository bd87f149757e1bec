"""A managed node whose slow transitions block neither the executor nor its services.

rclpy's own LifecycleNode runs a transition inside the service callback. A model that takes seconds to load would block
parameters, diagnostics and even the lifecycle's own services. Here the slow part of a transition is a job in another
thread, and the service waits for it as a coroutine. Requests of impossible transitions, at which rclpy's callback
raises an error that ends the process, are answered with ``success: false``. While it is active, the node keeps a bond.
"""

from __future__ import annotations

import traceback
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock
from rclpy.exceptions import InvalidHandle
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNodeMixin, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.task import Future as RclpyFuture

from .bond import Bond


class ManagedNode(LifecycleNodeMixin, Node):
    """A lifecycle node. Subclasses implement rclpy's ``on_...`` callbacks, and ``prepare`` for their slow parts."""

    def __init__(self, name: str, **options: Any):
        """Creates the node.

        Args:
            name: name of the node.
            **options: keyword arguments of rclpy's Node.
        """
        Node.__init__(self, name, **options)
        # A waiting callback occupies its group, so nothing else may use this one.
        self.waiting_group = ReentrantCallbackGroup()
        LifecycleNodeMixin.__init__(self, callback_group=self.waiting_group)
        # rclpy awaits coroutines too, but its annotation does not say so.
        self._service_change_state.callback = self._on_change_state  # type: ignore[assignment]
        self._bond = Bond(self)
        self._is_restarting = False

    @property
    def state_label(self) -> str:
        """The lifecycle state: "unconfigured", "configuring", "inactive", "activating", "active", "finalized", ..."""
        return self._state_machine.current_state[1]

    @property
    def bond_period(self) -> float:
        """Seconds between two heartbeats of the bond with a lifecycle manager; 0 for no bond."""
        return 0.0

    def prepare(self, transition: int) -> Future | None:
        """Starts the slow part of a transition in another thread; the transition's callback follows when it is done.

        Args:
            transition: id as in lifecycle_msgs/Transition.

        Returns:
            The job; None if nothing in the transition is slow.
        """
        return None

    def autostart(self, clock: Clock) -> None:
        """Configures and activates the node as soon as it is spun.

        Args:
            clock: a clock that runs, even if simulated time stands still.
        """
        self._autostart_timer = self.create_timer(0.0, self._autostart, clock=clock, callback_group=self.waiting_group)

    async def _autostart(self) -> None:
        self.destroy_timer(self._autostart_timer)
        if await self.change_state(Transition.TRANSITION_CONFIGURE):
            await self.change_state(Transition.TRANSITION_ACTIVATE)

    async def change_state(self, transition: int) -> bool:
        """Performs a transition.

        Args:
            transition: id as in lifecycle_msgs/Transition.

        Returns:
            Whether it succeeded; False also if it is impossible in the current state.
        """
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
        self._update_bond()
        return result is TransitionCallbackReturn.SUCCESS

    async def restart(self) -> None:
        """Deactivates and activates the node.

        The bond lasts meanwhile: if it broke, a lifecycle manager would deactivate all its nodes.
        """
        self._is_restarting = True
        try:
            if await self.change_state(Transition.TRANSITION_DEACTIVATE):
                await self.change_state(Transition.TRANSITION_ACTIVATE)
        finally:
            self._is_restarting = False
            self._update_bond()

    def _update_bond(self) -> None:
        if not self.context.ok():
            return
        if self.state_label == "active":
            self._bond.start(self.bond_period)
        elif not self._is_restarting:
            self._bond.stop()

    def _finish(self, before: LifecycleState) -> TransitionCallbackReturn:
        """Runs the callback of the current transition state and triggers the transition that its result leads to."""
        callback = self._callbacks.get(self._state_machine.current_state[0])
        try:
            result = callback(before) if callback else TransitionCallbackReturn.SUCCESS
        except Exception:
            if not self.context.ok():
                # A signal came meanwhile: nothing can be published any more, the change of state included.
                return TransitionCallbackReturn.FAILURE
            self.get_logger().error(f"this is a bug, please report it:\n{traceback.format_exc()}")
            result = TransitionCallbackReturn.ERROR
        self._state_machine.trigger_transition_by_label(result.to_label(), True)
        return result

    async def _until_done(self, job: Future) -> None:
        executor = self.executor
        done = RclpyFuture(executor=executor)

        def wake(_: Future) -> None:
            done.set_result(None)
            if executor is not None:
                with suppress(InvalidHandle):  # The executor has been shut down.
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

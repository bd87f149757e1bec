"""Receives the messages of a node's subscriptions in a thread of its own, beside the executor.

rclpy's executor waits for everything that a node has, and builds the set of it anew twice for each message: with the
services and event handlers of a managed node this takes several times as long as the message itself. A receiver waits
for its subscriptions alone.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, cast

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.exceptions import InvalidHandle
from rclpy.guard_condition import GuardCondition
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.subscription import Subscription

if TYPE_CHECKING:
    from rclpy.event_handler import EventHandler

_PAUSE = 1.0
"""Seconds after an error of the middleware, which would otherwise be reported without end."""


class _NotForExecutors(ReentrantCallbackGroup):
    """A group that executors leave out: also the QoS events of its subscriptions, which the middleware signals together
    with their messages."""

    def can_execute(self, entity: object) -> bool:
        return False


class Receiver:
    """Receives the messages of some subscriptions, and calls their callbacks one at a time."""

    def __init__(self, node: Node):
        """Starts the thread.

        Args:
            node: node that owns the subscriptions.
        """
        self._node = node
        self._group = _NotForExecutors()
        self._lock = threading.Lock()
        self._subscriptions: tuple[Subscription, ...] = ()
        self._stopped = False
        self._changed = GuardCondition(callback=None, callback_group=None, context=node.context)
        node.context.on_shutdown(self._wake)
        self._thread = threading.Thread(target=self._run, name="wildhands receiver", daemon=True)
        self._thread.start()

    def subscribe(
        self, kind: type, topic: str, callback: Callable[[Any], None], *args: Any, **options: Any
    ) -> Subscription:
        """Creates a subscription; arguments are those of the node's ``create_subscription``."""
        subscription = self._node.create_subscription(
            kind, topic, callback, *args, callback_group=self._group, **options
        )
        self._set((*self._subscriptions, subscription))
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Destroys a subscription; after it has returned, the callback is not called any more."""
        self._set(tuple(other for other in self._subscriptions if other is not subscription))
        self._node.destroy_subscription(subscription)

    def stop(self) -> None:
        """Destroys all subscriptions and ends the thread."""
        for subscription in self._subscriptions:
            self.unsubscribe(subscription)
        self._stopped = True
        self._wake()
        self._thread.join()
        self._changed.destroy()

    def _set(self, subscriptions: tuple[Subscription, ...]) -> None:
        with self._lock:
            self._subscriptions = subscriptions
        self._wake()

    def _wake(self) -> None:
        with suppress(InvalidHandle):  # It has been stopped.
            self._changed.trigger()

    def _run(self) -> None:
        while not self._stopped and self._node.context.ok():
            try:
                self._receive_until_changed(self._subscriptions)
            except Exception:  # whatever a message or the middleware raises: without the thread, nothing would arrive
                if self._node.context.ok() and not self._stopped:
                    self._report_bug()
                    time.sleep(_PAUSE)

    def _receive_until_changed(self, subscriptions: tuple[Subscription, ...]) -> None:
        context = self._node.context
        # It is a list, although rclpy's annotation says that it is a single handler.
        events = [
            (subscription, event)
            for subscription in subscriptions
            for event in cast("list[EventHandler]", subscription.event_handlers)
        ]
        with ExitStack() as used:  # What is in use is not destroyed meanwhile.
            try:
                for subscription in subscriptions:
                    used.enter_context(subscription.handle)
                for _, event in events:
                    used.enter_context(event)
                used.enter_context(self._changed.handle)
                assert context.handle is not None  # It has been initialised.
                used.enter_context(context.handle)
            except InvalidHandle:  # A subscription has been destroyed since.
                return
            wait_set = rclpy_implementation.WaitSet(len(subscriptions), 1, 0, 0, 0, len(events), context.handle)
            while subscriptions is self._subscriptions and not self._stopped and context.ok():
                wait_set.clear_entities()
                for subscription in subscriptions:
                    wait_set.add_subscription(subscription.handle)
                for _, event in events:
                    event.add_to_wait_set(wait_set)
                wait_set.add_guard_condition(self._changed.handle)
                wait_set.wait(-1)
                for owner, event in events:
                    if event.is_ready(wait_set):
                        self._call(owner, event.callback, event.take_data())
                for place, subscription in enumerate(subscriptions):
                    if wait_set.is_ready("subscription", place):
                        message = subscription.handle.take_message(subscription.msg_type, subscription.raw)
                        if message is not None:
                            self._call(subscription, subscription.callback, message[0])

    def _call(self, subscription: Subscription, callback: Callable[[Any], None], argument: object) -> None:
        with self._lock:
            if subscription not in self._subscriptions:
                return
            try:
                callback(argument)
            except Exception:
                self._report_bug()

    def _report_bug(self) -> None:
        self._node.get_logger().error(f"this is a bug, please report it:\n{traceback.format_exc()}")

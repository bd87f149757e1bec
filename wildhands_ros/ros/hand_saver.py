"""The service ``~/save_hand``, which the camera node and the fusion node offer."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.node import Node

from ..fitting.hand_length import HandLengths
from ..io.hand_files import save_hand
from ..srv import SaveHand


def offer_save_hand(node: Node, lengths: Callable[[], HandLengths | None]) -> None:
    """Offers a service that saves the learned lengths of a person's hands.

    Args:
        node: node that offers it.
        lengths: returns the lengths; None while the node has none.
    """

    def on_request(request: SaveHand.Request, response: SaveHand.Response) -> SaveHand.Response:
        try:
            known = lengths()
            if known is None:
                raise ValueError("the node is not active, so that it has learned nothing")
            response.message, response.success = save_hand(request.name, known.known()), True
        except (ValueError, OSError) as error:
            response.message, response.success = str(error), False
        return response

    node.create_service(SaveHand, "~/save_hand", on_request)

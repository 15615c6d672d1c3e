"""What the garbage collector looks at while calls are answered: what they left, not what start-up made."""

import gc

from llmaas_gateway.asgi import App, Message, Receive, Scope, Send


def spared_after_start(app: App) -> App:
    """The application, with all that is there once it has started left out of every later collection.

    LiteLLM makes more than a million objects at its start and keeps them. A full collection, one in some hundred calls,
    walked through them all and halted every call of the process for half a second.
    """

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        async def heard(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                # what start-up threw away would be kept for ever otherwise
                gc.collect()
                gc.freeze()
            await send(message)

        await app(scope, receive, heard if scope["type"] == "lifespan" else send)

    return served

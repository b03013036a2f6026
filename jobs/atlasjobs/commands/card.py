"""``atlasbasset card``: what a store says of itself, for people who find it."""

from typing import Annotated

import typer

from atlasjobs.options.common import Config, Debug, Json

__all__ = ["card"]

Store = Annotated[
    str, typer.Argument(metavar="STORE", help="Path or URL of an atlas, model or result.")
]
Licence = Annotated[
    str | None,
    typer.Option(help='Such as CC-BY-4.0; "" takes it back [as it is].', show_default=False),
]
Description = Annotated[
    str | None,
    typer.Option(help='A few sentences; "" takes them back [as they are].', show_default=False),
]
Show = Annotated[bool, typer.Option("--show", help="Print the card; write nothing.")]


def card(
    store: Store,
    *,
    licence: Licence = None,
    description: Description = None,
    show: Show = False,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Write a store's card, its README.md, with a licence and a description."""
    from atlasjobs.output.console import Output
    from atlasjobs.reports.sharing import card_values
    from atlasstore import write_card
    from atlasstore.cards.store_card import card_of

    output = Output(json)
    if show:
        found = card_of(store)
        output.line(found.markdown())
    else:
        found = write_card(store, licence=licence, description=description)
        output.line(f"Card in {store}: {found.title}")
    output.json(card_values(store, found))

"""The command `langchain-wan`."""


def main() -> None:
    """Run the command line."""
    try:
        from langchain_wan.cli.streams import open_streams

        open_streams()  # before anything asks them whether they are a terminal
        from langchain_wan.cli.app import run
    except ImportError as error:
        raise SystemExit(f"langchain-wan needs its extra: pip install 'langchain-wan[cli]' ({error})") from None
    run()

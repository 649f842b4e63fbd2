"""The command `langchain-wan`."""


def main() -> None:
    """Run the command line."""
    try:
        from langchain_wan.cli.app import app
    except ImportError as error:
        raise SystemExit(f"langchain-wan needs its extra: pip install 'langchain-wan[cli]' ({error})") from None
    app()

"""`python -m langchain_wan`: the command `langchain-wan`."""

from langchain_wan.cli import main

if __name__ == "__main__":
    main()

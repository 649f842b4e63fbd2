"""Fakes of the services, on this machine: the documented API over real HTTP, no key and no cost."""

from langchain_wan.sandbox.app import Sandbox, SandboxRequest

__all__ = ["Sandbox", "SandboxRequest"]

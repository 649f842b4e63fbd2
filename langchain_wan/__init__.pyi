from langchain_wan._tool.arguments import WanImageInput as WanImageInput
from langchain_wan.budget import Budget as Budget
from langchain_wan.budget import price_usd as price_usd
from langchain_wan.client import WanClient as WanClient
from langchain_wan.errors import WanConfigurationError as WanConfigurationError
from langchain_wan.errors import WanError as WanError
from langchain_wan.history import HistoryEntry as HistoryEntry
from langchain_wan.history import Lineage as Lineage
from langchain_wan.models import GeneratedImage as GeneratedImage
from langchain_wan.models import ImageFailure as ImageFailure
from langchain_wan.models import ImageResult as ImageResult
from langchain_wan.models import WanEvent as WanEvent
from langchain_wan.requests import ImageRequest as ImageRequest
from langchain_wan.requests import ImageSource as ImageSource
from langchain_wan.retry import RetryPolicy as RetryPolicy
from langchain_wan.runnables import WanImageGenerator as WanImageGenerator
from langchain_wan.store import WanStore as WanStore
from langchain_wan.tools import WanImageTool as WanImageTool

__version__: str
__all__: list[str]  # noqa: PYI035  its value is computed in `__init__.py`

"""What `make demo` runs: two images in the sandbox, one of them edited by its id. No key, no cost."""

from __future__ import annotations

from langchain_wan import WanImageGenerator, WanStore
from langchain_wan.sandbox import Sandbox

with Sandbox() as service:
    images = WanImageGenerator(
        base_url=service.url, api_key=service.api_key, store=WanStore("wan-images")
    )

    foxes = images.invoke({"prompt": "a red fox in fresh snow at sunrise", "n": 2, "seed": 7})
    print(foxes.describe(url=False))

    # An edit needs only the id: the bytes are in the store.
    night = images.invoke({"prompt": "make it night", "images": [foxes.images[1].id], "seed": 7})
    print(night.describe(url=False))

    for image in (*foxes.images, *night.images):
        print(image.save("wan-images"))
    print(f"The sandbox would have billed ${service.bill}.")

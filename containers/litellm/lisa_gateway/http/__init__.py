"""HTTP/1.1 on both sides of the gateway, as thin as asyncio and llhttp allow."""

"""What load balancers and schedulers ask: is it alive, may it be sent requests, what has it done."""

from lisa.identity import Principal

from lisa_gateway.answers import send_json
from lisa_gateway.catalogue import Catalogue
from lisa_gateway.http.exchange import Exchange
from lisa_gateway.limits import Limits
from lisa_gateway.metrics import Metrics


class Health:
    """Answers exchanges, whoever asks."""

    def __init__(self, catalogue: Catalogue, limits: Limits | None, metrics: Metrics) -> None:
        self._catalogue = catalogue
        self._limits = limits
        self._metrics = metrics

    async def alive(self, exchange: Exchange, _: Principal | None) -> None:
        send_json(exchange, {"status": "alive"})

    @property
    def _is_ready(self) -> bool:
        return self._catalogue.loaded and (self._limits is None or self._limits.loaded)

    async def healthy(self, exchange: Exchange, _: Principal | None) -> None:
        ready = self._is_ready
        send_json(exchange, {"status": "OK" if ready else "UNHEALTHY"}, 200 if ready else 503)

    async def ready(self, exchange: Exchange, _: Principal | None) -> None:
        ready = self._is_ready
        document = {"status": "ready" if ready else "starting", "catalogue": max(self._catalogue.version, 0)}
        send_json(exchange, document, 200 if ready else 503)

    async def metrics(self, exchange: Exchange, _: Principal | None) -> None:
        text = self._metrics.render().encode()
        exchange.reply(200, b"content-type: text/plain; version=0.0.4; charset=utf-8\r\n", text)

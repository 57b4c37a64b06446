"""States `Announce route`, `Activate route`, `Withdraw route`: what the gateways are to know of the model."""

from lisa import aws
from lisa.models.routes import RouteStore
from lisa.models.step import step
from lisa.models.store import ModelStore
from lisa.models.workflow import RouteModel
from lisa.settings import Settings

settings = Settings.from_environment()
route = RouteModel(
    settings,
    ModelStore(settings.models_table, aws.dynamodb()),
    RouteStore(settings.models_table, aws.dynamodb()),
)
handler = step(lambda wish, event: route(wish, event["routeState"]))

"""State `Await gateways`: do all live gateways serve the catalogue's version?"""

from lisa import aws
from lisa.models.routes import RouteStore
from lisa.models.step import step
from lisa.models.workflow import AwaitGateways
from lisa.settings import Settings

settings = Settings.from_environment()
await_gateways = AwaitGateways(RouteStore(settings.models_table, aws.dynamodb()))
handler = step(lambda wish, event: await_gateways(event["route"]["version"], event["route"].get("since")))

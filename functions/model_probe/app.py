"""State `Probe model`: does the model answer? Runs inside the network and may call no AWS API at all."""

from lisa.models.step import step
from lisa.models.workflow import ProbeModel
from lisa.settings import Settings

probe = ProbeModel(Settings.from_environment())
handler = step(lambda wish, event: probe(wish, event["path"]))

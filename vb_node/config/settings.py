"""Everything that the node is told, and what must fit together in it."""

from functools import cached_property
from pathlib import Path
from typing import Self

from pydantic import model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from vb_node.config.application import VirtualBiopsySettings
from vb_node.config.line import (
    AssembleSettings,
    DestinationSettings,
    DriftSettings,
    NodeSettings,
    ReceiveSettings,
    RetentionSettings,
    RouteSettings,
    WorkSettings,
)
from vb_node.config.outside import AlertsSettings, AuditSettings, WebSettings
from vb_node.errors import ConfigError

SQLITE = "sqlite:///"


class Settings(BaseSettings):
    """Everything that the node is told."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_prefix="VB_NODE_", env_nested_delimiter="__")

    node: NodeSettings = NodeSettings()
    receive: ReceiveSettings = ReceiveSettings()
    assemble: AssembleSettings = AssembleSettings()
    routes: tuple[RouteSettings, ...] = (RouteSettings(name="virtual-biopsy"),)
    destinations: tuple[DestinationSettings, ...] = ()
    work: WorkSettings = WorkSettings()
    virtual_biopsy: VirtualBiopsySettings = VirtualBiopsySettings()
    web: WebSettings | None = None
    retention: RetentionSettings = RetentionSettings()
    drift: DriftSettings = DriftSettings()
    audit: AuditSettings | None = None
    alerts: AlertsSettings | None = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        for kind, named in (("route", self.routes), ("destination", self.destinations)):
            names = [entry.name for entry in named]
            if doubled := {name for name in names if names.count(name) > 1}:
                raise ValueError(f"each {kind} needs a name of its own, {sorted(doubled)} came twice")
        known = {destination.name for destination in self.destinations}
        asked = self.assemble.ask
        if asked is not None and asked not in {one.name for one in self.destinations if one.kind != "folder"}:
            raise ValueError(f"assemble.ask is {asked!r}: expected the name of a destination of kind 'dimse' or 'stow'")
        titles = {peer.ae_title for peer in self.receive.peers}
        for one in self.destinations:
            if one.commitment and one.ae_title not in titles:
                raise ValueError(
                    f"destination {one.name!r} has commitment = true: list its AE {one.ae_title} under "
                    f"[[receive.peers]] (now {sorted(titles)}), so that its report is let in"
                )
        for route in self.routes:
            if unknown := set(route.destinations) - known:
                raise ValueError(
                    f"route {route.name!r} sends to {sorted(unknown)}; [[destinations]] names {sorted(known)}"
                )
        return self

    def of_route(self, route: RouteSettings) -> Self:
        """Give the settings that the application of a route is asked with."""
        own = route.virtual_biopsy
        return self if own is None else self.model_copy(update={"virtual_biopsy": own})

    @property
    def named_weights(self) -> set[str]:
        """The imported weights that any route is computed with."""
        asked = [self.virtual_biopsy, *(route.virtual_biopsy for route in self.routes if route.virtual_biopsy)]
        return {name for own in asked for name in own.named.values()}

    @cached_property
    def data(self) -> Path:
        return self.node.data.resolve()

    @cached_property
    def database_url(self) -> str:
        if self.node.database_file is not None:
            try:
                return self.node.database_file.read_text("utf-8").strip()
            except OSError as error:
                raise ConfigError(f"node.database_file {self.node.database_file} cannot be read") from error
        return self.node.database or f"{SQLITE}{self.data / 'ledger.db'}"

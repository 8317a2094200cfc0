"""Settings of live streams: how many, how large their frames, and from which pages."""

from pydantic import BaseModel, ConfigDict, Field

from service.setting_groups.connection_settings import listed


class StreamSettings(BaseModel):
    """The part of ``Settings`` about live streams."""

    model_config = ConfigDict(frozen=True)

    max_streams: int = Field(
        16, ge=0, description="Maximum number of open live streams of this process; 0 = none."
    )
    max_streams_per_workspace: int = Field(
        8,
        ge=0,
        description="Maximum number of open live streams of one workspace, over all replicas.",
    )
    max_streams_per_key: int = Field(
        4,
        ge=0,
        description="Maximum number of open live streams of one API key or token holder, over all "
        "replicas.",
    )
    max_stream_frame_bytes: int = Field(
        8_000_000,
        gt=0,
        le=64_000_000,
        description="Largest accepted frame of a live stream, bytes.",
    )
    stream_idle_s: float = Field(
        60.0, gt=0, description="Longest pause between two frames of a live stream, seconds."
    )
    stream_origins: str = Field(
        "",
        description="Further web pages that may open live streams, as origins such as "
        "https://viewer.example.org, with commas between; empty = those of this service alone.",
    )

    def origins(self) -> list[str]:
        """``stream_origins`` as a list, in small letters."""
        return listed(self.stream_origins.lower())

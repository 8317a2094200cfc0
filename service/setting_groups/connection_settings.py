"""Settings of sockets: where the service listens, and how long it waits for a client."""

from pydantic import BaseModel, ConfigDict, Field


class ConnectionSettings(BaseModel):
    """The part of ``Settings`` about connections."""

    model_config = ConfigDict(frozen=True)

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 = any free port.")
    allowed_hosts: str = Field(
        "",
        pattern=r"^\s*(\*\.)?[A-Za-z0-9._:-]*(\s*,\s*(\*\.)?[A-Za-z0-9._:-]+)*\s*$",
        description="Names that the Host header of a request may have, with commas between; "
        "*.example.org = every name below; empty = any.",
    )
    trusted_proxies: str = Field(
        "127.0.0.1,::1",
        description="Addresses or networks of proxies whose X-Forwarded-For names the client, with "
        "commas between; none = no proxy.",
    )
    max_connections: int = Field(
        512,
        gt=0,
        description="Maximum number of open connections; the oldest that is idle or half sent "
        "makes room for a new one.",
    )
    max_connections_per_address: int = Field(
        128,
        ge=0,
        description="Maximum number of open connections of one client address; 0 = no limit, for a "
        "service behind a proxy.",
    )
    header_timeout_s: float = Field(
        10.0, gt=0, description="Time in which the headers of a request must arrive, seconds."
    )
    body_timeout_s: float = Field(
        30.0, gt=0, description="Longest pause while the body of a request arrives, seconds."
    )
    send_timeout_s: float = Field(
        30.0, gt=0, description="Longest pause while a client reads its answer, seconds."
    )
    keep_alive_s: float = Field(
        75.0, gt=0, description="Time for which an idle connection is kept, seconds."
    )
    min_rate_bytes_s: int = Field(
        500,
        gt=0,
        description="Slowest rate of a body that arrives and of an answer that is read, after the "
        "time of its longest pause, bytes per second.",
    )

    def hosts(self) -> list[str]:
        """``allowed_hosts`` as a list, in small letters."""
        return listed(self.allowed_hosts.lower())


def listed(text: str) -> list[str]:
    """The parts of a setting with commas."""
    return [part.strip() for part in text.split(",") if part.strip()]

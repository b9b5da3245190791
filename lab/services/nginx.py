"""nginx: a web server, or a reverse proxy."""

# No `from __future__ import annotations`: pydantic reads the annotations at run time.
from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from lab.services.kind import Kind, Place, Port, Program
from lab.services.options import Endpoint, Line, PortNumber, joined, split

_CONFIGURATION = """\
daemon off;
worker_processes 1;
pid {home}/nginx.pid;
error_log stderr notice;
events {{ worker_connections 1024; }}
http {{
    types {{
        text/html html htm;
        text/css css;
        text/plain txt;
        application/javascript js;
        application/json json;
        image/png png;
        image/jpeg jpg jpeg;
        image/gif gif;
    }}
    default_type application/octet-stream;
    access_log /dev/stdout;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
{upstream}    server {{
{listen}        server_name {node};
        location / {{
{location}        }}
    }}
}}
"""


class Nginx(Kind):
    """A web server. Without a root, pages or backends it serves one page that says which node it is."""

    package: ClassVar[str] = "nginx"

    port: PortNumber = Field(default=80, description="Where it listens.")
    root: Line | None = Field(
        default=None, description="The folder that it serves, from the topology file's own folder onwards."
    )
    pages: Mapping[Line, str] = Field(default={}, description="Files that it serves: the text of each, by its path.")
    backends: Annotated[tuple[Endpoint, ...], Field(strict=False)] = Field(
        default=(), description="Servers that it passes requests on to in turn, like web:80; then it has no root."
    )
    max_age: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="How long answers may be kept in a cache, in seconds (Cache-Control: max-age)."
    )

    def program(self, place: Place) -> Program:
        """Return what to run."""
        path, www = f"{place.home}/nginx.conf", f"{place.home}/www"
        addresses = ["", "[::]:"] if place.node.ipv6 else [""]
        if self.backends:
            location = ["proxy_pass http://backends", "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for"]
        else:
            location = [f'root "{place.path(self.root) if self.root else www}"']
        if self.max_age is not None:
            location.append(f'add_header Cache-Control "max-age={self.max_age}"')
        text = _CONFIGURATION.format(
            home=place.home,
            node=place.node.name,
            upstream=self._upstream(place),
            listen="".join(f"        listen {address}{self.port};\n" for address in addresses),
            location="".join(f"            {line};\n" for line in location),
        )
        pages = self.pages or {"index.html": f"<title>{place.node.name}</title>\n<p>This is {place.node.name}.</p>\n"}
        return Program(
            arguments=("nginx", "-c", path, "-p", place.home, "-e", "stderr"),
            files={path: text, **{f"{www}/{name.lstrip('/')}": page for name, page in pages.items()}},
            ports=(Port("tcp", self.port),),
        )

    def _upstream(self, place: Place) -> str:
        if not self.backends:
            return ""
        ends = (split(endpoint) for endpoint in self.backends)
        servers = "".join(f" server {joined(place.addresses_of(host)[0], port)};" for host, port in ends)
        return f"    upstream backends {{{servers} }}\n"

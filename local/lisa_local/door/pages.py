"""The pages of the front door: quick start, and the one for what is not there."""

from __future__ import annotations

import base64
import hashlib
from html import escape

from aiohttp import web

_STYLE = """
:root{color-scheme:light dark;--ink:#16202c;--soft:#4d5c6d;--paper:#fbfbf9;--line:#d9dde2;--accent:#0b5cad;
--code:#f0f2f4}
@media(prefers-color-scheme:dark){:root{--ink:#e8ebef;--soft:#a7b3c0;--paper:#12171d;--line:#303a45;
--accent:#7cb7f5;--code:#1c232b}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:1rem/1.6 system-ui,sans-serif}
main{max-width:46rem;margin:0 auto;padding:4rem 1.5rem}
h1{font-size:2.25rem;line-height:1.2;letter-spacing:-.02em;margin:0 0 .5rem}
h2{font-size:1.15rem;margin:2.5rem 0 .75rem}
p{margin:.5rem 0}.lead{color:var(--soft);font-size:1.1rem}
a{color:var(--accent)}
pre{background:var(--code);border:1px solid var(--line);border-radius:.5rem;padding:1rem;overflow-x:auto;
font:.875rem/1.6 ui-monospace,monospace}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.4rem 1.5rem;margin:0}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
code{font-family:ui-monospace,monospace;font-size:.9em}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
@media(max-width:32rem){main{padding:2rem 1rem}dl{grid-template-columns:1fr}dd{margin-bottom:.5rem}}
"""

_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

_HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Server": "lisa",
}

_QUICK_START = """<h1>LISA</h1>
<p class="lead">Large language models on this machine, behind the OpenAI API.</p>
{notice}
<h2 id="first">First answer</h2>
<pre tabindex="0" aria-labelledby="first"><code>export OPENAI_BASE_URL={url}/v1
export OPENAI_API_KEY=$(.venv/bin/lisa token)
curl $OPENAI_BASE_URL/chat/completions -H "Authorization: Bearer $OPENAI_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{{"model":"smollm2-135m","messages":[{{"role":"user","content":"Say hello"}}]}}'</code></pre>
<p>Run them in the checkout. Any client that takes an OpenAI base URL and key works with these two.</p>
<h2>Addresses</h2>
<dl>
<dt>Inference</dt><dd><code>{url}/v1</code></dd>
<dt>Management API</dt><dd><code>{url}/api</code></dd>
<dt>API reference</dt><dd><a href="{prefix}/api/docs">{url}/api/docs</a></dd>
<dt>OpenAPI document</dt><dd><a href="{prefix}/api/openapi.json">{url}/api/openapi.json</a></dd>
<dt>Gateway health</dt><dd><a href="{prefix}/health/readiness">{url}/health/readiness</a></dd>
</dl>
<h2>Users</h2>
<p><code>.venv/bin/lisa token --user alice</code> prints a token for another user; passwords are in
<code>.lisa/credentials</code>.</p>
"""

_NOT_FOUND = """<h1>Not found</h1>
<p class="lead">There is no page at this address.</p>
<p><a href="{prefix}/">Go to the start page</a></p>
"""


def quick_start(url: str, prefix: str, *, deployed: bool) -> web.Response:
    """The start page.

    Args:
        url: where the caller reaches this front door, without a slash at its end.
        prefix: the path part of it.
        deployed: whether there is anything behind it yet.
    """
    notice = "" if deployed else '<p role="status"><strong>Deploying.</strong> Reload in a moment.</p>'
    body = _QUICK_START.format(url=escape(url), prefix=escape(prefix), notice=notice)
    return _page("LISA", body, 200)


def not_found(prefix: str) -> web.Response:
    return _page("Not found - LISA", _NOT_FOUND.format(prefix=escape(prefix)), 404)


def _page(title: str, body: str, status: int) -> web.Response:
    text = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><style>{_STYLE}</style></head>\n'
        f"<body><main>{body}</main></body></html>\n"
    )
    return web.Response(text=text, status=status, content_type="text/html", charset="utf-8", headers=_HEADERS)

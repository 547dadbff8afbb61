"""Programs that ping, post and ask again, in four languages: they run as they are printed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from exchange.posting_guide.literals import INDENT, JSON, PHP, PYTHON, shell, written

Fields = Mapping[str, object]

KEY: Final = "EXCHANGE_KEY"  # the variable that a seller puts his key into
_TITLES: Final = {
    "setup": "First",
    "ping": "Ping: what is it worth?",
    "post": "Post: sell it",
    "poll": "Ask again while it is pending",
    "one_step": "Or both in one step",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One part; the parts of a language, one after the other, are a whole program."""

    name: str  # setup, ping, post, poll, one_step
    title: str
    code: str


@dataclass(frozen=True, slots=True)
class Language:
    slug: str
    name: str
    file: str  # what to save the whole as
    run: str  # how it is run then
    steps: tuple[Step, ...]

    @property
    def program(self) -> str:
        return "\n\n".join(one.code for one in self.steps) + "\n"


@dataclass(frozen=True, slots=True)
class _Filled:
    """What every program is made of."""

    url: str
    ping: dict[str, object]  # bodies
    rest: dict[str, object]  # the fields that the ping lacked
    one_step: dict[str, object]
    wait_s: int


def write_programs(
    url: str, vertical: str, ping: Fields, lead: Fields, wait_ms: int
) -> tuple[Language, ...]:
    """`ping` and `lead` are the fields of one example; `wait_ms` the longest a lead may take. They are
    tests until `test` is taken out."""
    rest = {name: value for name, value in lead.items() if name not in ping}
    filled = _Filled(
        url=url,
        ping={"vertical": vertical, "fields": dict(ping), "test": True},
        rest=rest,
        one_step={"vertical": vertical, "fields": dict(lead), "test": True},
        wait_s=wait_ms // 1000 + 5,
    )
    kinds = (
        ("curl", "curl", "sell.sh", "sh sell.sh", _curl),
        ("python", "Python", "sell.py", "python3 sell.py", _python),
        ("php", "PHP", "sell.php", "php sell.php", _php),
        ("javascript", "JavaScript", "sell.mjs", "node sell.mjs", _javascript),
    )
    return tuple(
        Language(slug, name, file, run, _steps(write(filled)))
        for slug, name, file, run, write in kinds
    )


def _steps(codes: Mapping[str, str]) -> tuple[Step, ...]:
    return tuple(Step(name, title, codes[name].strip("\n")) for name, title in _TITLES.items())


# --- the programs -----------------------------------------------------------------------------------


def _curl(of: _Filled) -> dict[str, str]:
    heads = """-H "Authorization: Bearer $KEY" -H 'Content-Type: application/json' \\
  """
    ping, one_step = (shell(written(one, JSON)) for one in (of.ping, of.one_step))
    rest = shell(written(of.rest, JSON, INDENT))
    return {
        "setup": f"URL='{of.url}'\nKEY=\"${{{KEY}:?put your key into {KEY} first}}\"",
        "ping": f"""
QUOTE=$(curl -sS "$URL/v1/pings" {heads}-d '{ping}')
echo "$QUOTE"
""",
        "post": f"""
PING_ID=$(printf %s "$QUOTE" | sed -n 's/.*"ping_id":"\\([^"]*\\)".*/\\1/p')
LEAD=$(curl -sS "$URL/v1/leads" --max-time {of.wait_s} {heads}-H "Idempotency-Key: $PING_ID" \\
  -d '{{
    "ping_id": "'"$PING_ID"'",
    "fields": {rest}
}}')
echo "$LEAD"
""",
        "poll": """
LEAD_ID=$(printf %s "$LEAD" | sed -n 's/.*"lead_id":"\\([^"]*\\)".*/\\1/p')
while printf %s "$LEAD" | grep -q '"outcome":"pending"'; do
  sleep 2
  LEAD=$(curl -sS "$URL/v1/leads/$LEAD_ID" -H "Authorization: Bearer $KEY")
  echo "$LEAD"
done
""",
        "one_step": f"""
ONCE="form-$(date +%s)-$$"   # your own id of this lead: a retry sends the same one
curl -sS "$URL/v1/leads" --max-time {of.wait_s} {heads}-H "Idempotency-Key: $ONCE" \\
  -d '{one_step}'
echo
""",
    }


def _python(of: _Filled) -> dict[str, str]:
    ping, one_step = (written(one, PYTHON) for one in (of.ping, of.one_step))
    rest = written(of.rest, PYTHON, INDENT)
    return {
        "setup": f'''
import json, os, time, urllib.error, urllib.request, uuid

URL = "{of.url}"
KEY = os.environ["{KEY}"]


def call(method, path, body=None, once=None):
    """The answer. After no answer, 409, 429 and 503: the same again, under the same key."""
    headers = {{"Authorization": f"Bearer {{KEY}}", "Content-Type": "application/json"}}
    if once:
        headers["Idempotency-Key"] = once
    data = None if body is None else json.dumps(body).encode()
    for left in (3, 2, 1, 0):
        request = urllib.request.Request(URL + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout={of.wait_s}) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            if error.code not in (409, 429, 503) or not left:
                raise SystemExit(f"{{error.code}} {{error.read().decode()}}")
            time.sleep(int(error.headers.get("Retry-After", 1)))
        except OSError:
            if not left:
                raise
            time.sleep(1)
''',
        "ping": f'quote = call("POST", "/v1/pings", {ping})\nprint(quote)',
        "post": f"""
lead = call("POST", "/v1/leads", {{
    "ping_id": quote["ping_id"],
    "fields": {rest},
}}, once=quote["ping_id"])
print(lead)
""",
        "poll": """
while lead["outcome"] == "pending":
    time.sleep(2)
    lead = call("GET", "/v1/leads/" + lead["lead_id"])
    print(lead)
""",
        "one_step": f"""
once = str(uuid.uuid4())  # or your own id of this lead: a retry sends the same one
print(call("POST", "/v1/leads", {one_step}, once=once))
""",
    }


def _javascript_setup(of: _Filled) -> str:
    return f"""
// On your server, never in a browser: whoever has the key sells as you.
const URL_ = "{of.url}";
const KEY = process.env.{KEY};

// The answer. After no answer, 409, 429 and 503: the same again, under the same key.
async function call(method, path, body, once) {{
  const headers = {{ Authorization: `Bearer ${{KEY}}`, "Content-Type": "application/json" }};
  if (once) headers["Idempotency-Key"] = once;
  for (let left = 3; ; left--) {{
    let waitS = 1;
    try {{
      const response = await fetch(URL_ + path, {{
        method, headers, body: body && JSON.stringify(body), signal: AbortSignal.timeout({of.wait_s}000),
      }});
      if (response.ok) return await response.json();
      if (![409, 429, 503].includes(response.status) || !left) {{
        console.error(response.status, await response.text());
        process.exit(1);
      }}
      waitS = Number(response.headers.get("Retry-After") ?? 1);
    }} catch (error) {{
      if (!left) throw error;
    }}
    await new Promise((done) => setTimeout(done, waitS * 1000));
  }}
}}
"""


def _javascript(of: _Filled) -> dict[str, str]:
    ping, one_step = (written(one, JSON) for one in (of.ping, of.one_step))
    rest = written(of.rest, JSON, INDENT)
    return {
        "setup": _javascript_setup(of),
        "ping": f'const quote = await call("POST", "/v1/pings", {ping});\nconsole.log(quote);',
        "post": f"""
let lead = await call("POST", "/v1/leads", {{
    "ping_id": quote.ping_id,
    "fields": {rest},
}}, quote.ping_id);
console.log(lead);
""",
        "poll": """
while (lead.outcome === "pending") {
  await new Promise((done) => setTimeout(done, 2000));
  lead = await call("GET", `/v1/leads/${lead.lead_id}`);
  console.log(lead);
}
""",
        "one_step": f"""
const once = crypto.randomUUID(); // or your own id of this lead: a retry sends the same one
console.log(await call("POST", "/v1/leads", {one_step}, once));
""",
    }


def _php_setup(of: _Filled) -> str:
    return f"""
<?php
const URL = '{of.url}';
define('KEY', getenv('{KEY}'));

// The answer. After no answer, 409, 429 and 503: the same again, under the same key.
function call(string $method, string $path, ?array $body = null, ?string $once = null): array {{
    $headers = ['Authorization: Bearer ' . KEY, 'Content-Type: application/json'];
    if ($once !== null) {{
        $headers[] = "Idempotency-Key: $once";
    }}
    for ($left = 3; ; $left--) {{
        $curl = curl_init(URL . $path);
        curl_setopt_array($curl, [
            CURLOPT_CUSTOMREQUEST => $method,
            CURLOPT_HTTPHEADER => $headers,
            CURLOPT_RETURNTRANSFER => true,
            CURLOPT_TIMEOUT => {of.wait_s},
        ]);
        if ($body !== null) {{
            curl_setopt($curl, CURLOPT_POSTFIELDS, json_encode($body));
        }}
        $answer = curl_exec($curl);
        $status = curl_getinfo($curl, CURLINFO_RESPONSE_CODE);
        if ($status === 200 || $status === 202) {{
            return json_decode($answer, true);
        }}
        if (!in_array($status, [0, 409, 429, 503], true) || $left === 0) {{
            fwrite(STDERR, "$status $answer\\n");
            exit(1);
        }}
        sleep(1);
    }}
}}
"""


def _php(of: _Filled) -> dict[str, str]:
    ping, one_step = (written(one, PHP) for one in (of.ping, of.one_step))
    rest = written(of.rest, PHP, INDENT)
    return {
        "setup": _php_setup(of),
        "ping": f"$quote = call('POST', '/v1/pings', {ping});\nprint_r($quote);",
        "post": f"""
$lead = call('POST', '/v1/leads', [
    'ping_id' => $quote['ping_id'],
    'fields' => {rest},
], $quote['ping_id']);
print_r($lead);
""",
        "poll": """
while ($lead['outcome'] === 'pending') {
    sleep(2);
    $lead = call('GET', '/v1/leads/' . $lead['lead_id']);
    print_r($lead);
}
""",
        "one_step": f"""
$once = bin2hex(random_bytes(16)); // or your own id of this lead: a retry sends the same one
print_r(call('POST', '/v1/leads', {one_step}, $once));
""",
    }

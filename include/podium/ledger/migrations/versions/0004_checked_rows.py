"""The text that is hashed is a column, and a row that would stop those who read is refused."""

import json

import sqlalchemy as sa
from alembic import context, op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# Whoever inserts sets the session: what a function finds, and how it is parsed, must not depend on it.
_FIXED = "SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on"

# As Python's json.dumps writes a text: in ASCII alone.
_JSON_STRING = (
    "json_string(value text) RETURNS text LANGUAGE sql STABLE",
    r"""SELECT CASE WHEN value ~ '^[ -~]*$' THEN to_json(value)::text ELSE (
    SELECT '"' || string_agg(CASE
        WHEN ascii(c) < 127 THEN substr(to_json(c)::text, 2, length(to_json(c)::text) - 2)
        WHEN ascii(c) < 65536 THEN '\u' || lpad(to_hex(ascii(c)), 4, '0')
        ELSE '\u' || to_hex(55296 + ((ascii(c) - 65536) >> 10))
          || '\u' || to_hex(56320 + ((ascii(c) - 65536) & 1023))
        END, '' ORDER BY place) || '"'
    FROM regexp_split_to_table(value, '') WITH ORDINALITY AS characters (c, place)
) END
""",
)

# podium.ledger.events.canonical_text in SQL. The details come as they are in that text.
_LEDGER_TEXT = (
    "ledger_text(e public.ledger_events, details text) RETURNS text LANGUAGE sql STABLE",
    """SELECT '{"actor":' || public.json_string(e.actor)
    || ',"at":"' || to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS')
    || CASE to_char(e.at AT TIME ZONE 'UTC', 'US')
       WHEN '000000' THEN '' ELSE to_char(e.at AT TIME ZONE 'UTC', '.US') END
    || '+00:00","details":' || details
    || ',"event":' || public.json_string(e.event)
    || ',"from_version":' || coalesce(e.from_version::text, 'null')
    || ',"key":' || coalesce(public.json_string(e.key), 'null')
    || ',"model":' || public.json_string(e.model)
    || ',"previous_hash":' || public.json_string(e.previous_hash)
    || ',"reason":' || public.json_string(e.reason)
    || ',"run":' || coalesce(public.json_string(e.run), 'null')
    || ',"seq":' || e.seq::text
    || ',"version":' || coalesce(e.version::text, 'null') || '}'
""",
)

# Details have their own order of keys in their column. JSON may hold a NUL and half a pair of surrogates,
# which jsonb refuses: so an escape is compared as the text that it is.
_SAME_JSON = (
    "same_json(one text, other text) RETURNS boolean LANGUAGE sql STABLE",
    r"""SELECT regexp_replace(one, '((^|[^\\])(\\\\)*)\\u', '\1\\\\u', 'g')::jsonb
     = regexp_replace(other, '((^|[^\\])(\\\\)*)\\u', '\1\\\\u', 'g')::jsonb
""",
)

_CONTINUE_LEDGER = (
    "continue_ledger() RETURNS trigger LANGUAGE plpgsql",
    """DECLARE
    last record;
    details text := substr(
        NEW.canonical,
        strpos(NEW.canonical, ',"details":') + length(',"details":'),
        greatest(length(NEW.canonical) - length(public.ledger_text(NEW, '')), 0));
    wrong text;
BEGIN
    SELECT seq, at, hash INTO last FROM public.ledger_events ORDER BY seq DESC LIMIT 1;
    wrong := CASE
        WHEN NEW.seq IS DISTINCT FROM coalesce(last.seq, 0) + 1
            THEN 'its number is not the next one'
        WHEN NEW.previous_hash IS DISTINCT FROM coalesce(last.hash, repeat('0', 64))
            THEN 'it does not hold the hash of the newest event'
        WHEN NEW.at IS NULL OR NEW.at < coalesce(last.at, '2000-01-01Z')
            THEN 'it is dated before the newest event'
        WHEN NEW.at > greatest(clock_timestamp() + interval '5 seconds', last.at)
            THEN 'it is dated after now'
        WHEN NOT EXISTS (SELECT FROM public.event_kinds WHERE kind = NEW.event)
            THEN 'it is of no known kind'
        WHEN NEW.model IS NULL OR NEW.model !~ '^[a-z0-9]+(-[a-z0-9]+)*$' OR length(NEW.model) > 250
            THEN 'it names no model'
        WHEN json_typeof(NEW.details) IS DISTINCT FROM 'object'
            THEN 'its details are no JSON object'
        WHEN NEW.canonical IS DISTINCT FROM public.ledger_text(NEW, details) OR details IS NULL
            OR NOT public.same_json(details, NEW.details::text)
            THEN 'its text is not that of its columns'
        WHEN NEW.hash IS DISTINCT FROM encode(sha256(convert_to(NEW.canonical, 'UTF8')), 'hex')
            THEN 'its hash is not that of its text'
    END;
    IF wrong IS NOT NULL THEN
        RAISE check_violation USING MESSAGE = 'event refused: ' || wrong;
    END IF;
    RETURN NEW;
END
""",
)

# How many values a list in JSON has; NULL: it is no list. Postgres cannot take a text with a NUL apart.
_LIST_LENGTH = (
    "list_length(content text, key text) RETURNS integer LANGUAGE plpgsql STABLE",
    r"""DECLARE
    list json;
BEGIN
    IF content IS JSON THEN
        list := replace(content, '\u0000', '\u0001')::json;
        IF key IS NOT NULL THEN
            list := list -> key;
        END IF;
        IF json_typeof(list) = 'array' THEN
            RETURN json_array_length(list);
        END IF;
    END IF;
    RETURN NULL;
END
""",
)

_TAKE_ANSWERS = (
    "take_answers() RETURNS trigger LANGUAGE plpgsql",
    """DECLARE
    answers text;
BEGIN
    -- The clock is that of the model server.
    NEW.at := least(NEW.at, clock_timestamp());
    IF NEW.at < '2000-01-01Z' OR NEW.rows < 1 OR NEW.champion < 1 OR NEW.candidate < 1 THEN
        RAISE check_violation USING MESSAGE = 'request refused: its time, rows or versions are none';
    END IF;
    FOREACH answers IN ARRAY array_remove(ARRAY[NEW.champion_answers, NEW.candidate_answers], NULL) LOOP
        IF public.list_length(answers, 'predictions') IS DISTINCT FROM NEW.rows THEN
            RAISE check_violation USING MESSAGE = 'request refused: its answers are not one per row';
        END IF;
    END LOOP;
    RETURN NEW;
END
""",
)

_TAKE_LABELS = (
    "take_labels() RETURNS trigger LANGUAGE plpgsql",
    """BEGIN
    IF public.list_length(NEW.labels, NULL) IS DISTINCT FROM (
        SELECT rows FROM public.live_answers WHERE model = NEW.model AND request_id = NEW.request_id)
    THEN
        RAISE check_violation USING MESSAGE = 'labels refused: they are not one per row of a request';
    END IF;
    RETURN NEW;
END
""",
)

_FUNCTIONS = (
    _JSON_STRING,
    _LEDGER_TEXT,
    _SAME_JSON,
    _CONTINUE_LEDGER,
    _LIST_LENGTH,
    _TAKE_ANSWERS,
    _TAKE_LABELS,
)


def upgrade() -> None:
    """Add the text of the events that there are, and check each new row."""
    # What is known is added by each migration, from the code: see podium.ledger.store.
    op.create_table("event_kinds", sa.Column("kind", sa.Text, primary_key=True))
    op.add_column("ledger_events", sa.Column("canonical", sa.Text))
    for signature, body in _FUNCTIONS:
        op.get_bind().exec_driver_sql(f"CREATE FUNCTION public.{signature} {_FIXED} AS $${body}$$")
    _write_texts(op.get_bind())
    for table, function in {
        "ledger_events": "continue_ledger",
        "live_answers": "take_answers",
        "live_labels": "take_labels",
    }.items():
        op.execute(
            f"CREATE TRIGGER {function} BEFORE INSERT ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION public.{function}()"
        )


def _write_texts(connection: sa.Connection) -> None:
    """Write the text of each event from what its columns hold now, whether its hash is that of it or not."""
    write = sa.text("UPDATE ledger_events e SET canonical = public.ledger_text(e, :details) WHERE seq = :seq")
    newest = done = 0
    tell, many = context.config.attributes["tell"], connection.scalar(_HOW_MANY)
    read = sa.text("SELECT seq, details::text FROM ledger_events WHERE seq > :newest ORDER BY seq LIMIT 1000")
    while rows := connection.execute(read, {"newest": newest}).all():
        newest = rows[-1].seq
        connection.execute(write, [{"seq": seq, "details": _sorted(details)} for seq, details in rows])
        done += len(rows)
        tell(f"the text of {done:,} of {many:,} events is written")


_HOW_MANY = sa.text("SELECT count(*) FROM ledger_events")


def _sorted(details: str) -> str:
    try:
        return json.dumps(json.loads(details), sort_keys=True, separators=(",", ":"))
    except (ValueError, RecursionError):
        return details  # Nothing that Podium wrote; `podium verify` names the event.

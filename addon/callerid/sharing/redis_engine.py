"""Redis or Valkey as the engine: what belongs together is done in scripts, each one round trip.

A session is one list: its head, then its entries. So it is evicted whole or not at all, and what
is not there is only unknown. Names are strings of session ids. Everything has a time to live.
"""

from __future__ import annotations

import asyncio
import hashlib
from asyncio import Future
from collections.abc import Mapping, Sequence
from typing import Any

from callerid.sharing.engine import NAMES_OUTLIVE, Away, Found, Write, most_owners
from callerid.sharing.resp import Connection, connect, place

REST_SECONDS = 1.0  # between two attempts to connect

_LOOK = b"""
local prefix, count = ARGV[1], tonumber(ARGV[2])
local ids, seen, known, found, keys = {}, {}, {}, {}, {}
local function take(id)
  if not seen[id] then seen[id] = true; ids[#ids + 1] = id end
end
for at = 3, 2 + count do keys[#keys + 1] = prefix .. 'n:' .. ARGV[at] end
local at = 3 + count
count = tonumber(ARGV[at])
for i = at + 1, at + count do take(ARGV[i]) end
for i = at + count + 1, #ARGV, 2 do known[ARGV[i]] = tonumber(ARGV[i + 1]) end
for first = 1, #keys, 1000 do
  local last = math.min(first + 999, #keys)
  for _, owners in ipairs(redis.call('MGET', unpack(keys, first, last))) do
    if owners then for id in string.gmatch(owners, '[^\\n]+') do take(id) end end
  end
end
for _, id in ipairs(ids) do
  local key = prefix .. 's:' .. id
  local version, since = redis.call('LLEN', key) - 1, known[id] or 0
  if since > version then since = 0 end
  if since < version then
    found[#found + 1] = {id, version, since, redis.call('LINDEX', key, 0),
                         redis.call('LRANGE', key, since + 1, -1)}
  end
end
return found
"""

_PUT = b"""
local prefix, outlive = ARGV[1], tonumber(ARGV[2])
local at, writes = 3, {}
while ARGV[at] do
  local write = {id = ARGV[at], ttl = tonumber(ARGV[at + 2]), at = at}
  local version = math.max(redis.call('LLEN', prefix .. 's:' .. write.id) - 1, 0)
  if version ~= tonumber(ARGV[at + 1]) then return 0 end
  write.is_new = version == 0
  writes[#writes + 1] = write
  at = at + 5
  at = at + 1 + 2 * tonumber(ARGV[at])
  at = at + 1 + tonumber(ARGV[at])
end
for _, write in ipairs(writes) do
  local key, at = prefix .. 's:' .. write.id, write.at
  if write.is_new then
    redis.call('DEL', key)
    redis.call('RPUSH', key, ARGV[at + 3], ARGV[at + 4])
  else
    redis.call('LSET', key, 0, ARGV[at + 3])
    redis.call('RPUSH', key, ARGV[at + 4])
  end
  redis.call('PEXPIRE', key, write.ttl)
  at = at + 5
  local count, line = tonumber(ARGV[at]), '\\n' .. write.id .. '\\n'
  for i = at + 1, at + 2 * count, 2 do
    local name, most = prefix .. 'n:' .. ARGV[i], tonumber(ARGV[i + 1])
    local owners = redis.call('GET', name) or '\\n'
    if not string.find(owners, line, 1, true) then
      owners = owners .. write.id .. '\\n'
      local _, ends = string.gsub(owners, '\\n', '')
      for _ = most + 2, ends do
        owners = string.sub(owners, string.find(owners, '\\n', 2, true), -1)
      end
    end
    redis.call('SET', name, owners, 'PX', write.ttl * outlive)
  end
  at = at + 1 + 2 * count
  for i = at + 1, at + tonumber(ARGV[at]) do
    local name = prefix .. 'n:' .. ARGV[i]
    local owners = redis.call('GET', name)
    if owners then
      local first, last = string.find(owners, line, 1, true)
      if first then owners = string.sub(owners, 1, first) .. string.sub(owners, last + 1) end
      if owners == '\\n' then redis.call('DEL', name)
      else redis.call('SET', name, owners, 'KEEPTTL') end
    end
  end
end
return 1
"""

_CLAIM = b"""
local key, seconds = ARGV[1] .. 'c:' .. ARGV[2], tonumber(ARGV[4])
local there = redis.call('GET', key)
if not there then there = ARGV[3]; redis.call('SET', key, there) end
if seconds > 0 then redis.call('EXPIRE', key, seconds) end
return there
"""
_DROP = b"""
for at = 2, #ARGV do redis.call('DEL', ARGV[1] .. 's:' .. ARGV[at]) end
return 1
"""
_SCRIPTS = {
    script: hashlib.sha1(script).hexdigest().encode() for script in (_LOOK, _PUT, _CLAIM, _DROP)
}


class RedisEngine:
    """An engine in a Redis or Valkey server; raises ValueError for a URL that is none."""

    def __init__(self, url: str, prefix: str = "callerid:") -> None:
        self._place = place(url)
        self.place = self._place.words
        self._prefix = prefix.encode()
        self._connection: Connection | None = None
        self._opening: asyncio.Task[None] | None = None
        self._is_closed = False

    async def open(self) -> None:
        """Connect, and give the server our scripts; raises Away."""
        made = await connect(self._place)
        for script in _SCRIPTS:
            await made.ask([b"SCRIPT", b"LOAD", script])
        if self._is_closed or (self._connection is not None and self._connection.is_open):
            made.close()  # somebody was quicker
            return
        made.on_lost = self._open_again
        self._connection = made

    def look(
        self, names: Sequence[bytes], ids: Sequence[str], known: Mapping[str, int]
    ) -> Future[list[Found]]:
        """The sessions that go by some names or ids."""
        words = [b"%d" % len(names), *names, b"%d" % len(ids), *(id.encode() for id in ids)]
        for id, version in known.items():
            words += [id.encode(), b"%d" % version]
        return self._run(_LOOK, words, _found)

    def put(self, writes: Sequence[Write]) -> Future[bool]:
        """Keep all of this, or nothing."""
        words = [b"%d" % NAMES_OUTLIVE]
        for one in writes:
            words += [one.id.encode(), b"%d" % one.version, b"%d" % (one.seconds * 1000)]
            words += [one.head, one.entry, b"%d" % len(one.names)]
            for name in one.names:
                words += [name, b"%d" % most_owners(name)]
            words += [b"%d" % len(one.gone), *one.gone]
        return self._run(_PUT, words, bool)

    def claim(self, key: str, value: bytes, seconds: float) -> Future[bytes]:
        """What stands at a key: this value if nothing does."""
        return self._run(_CLAIM, [key.encode(), value, b"%d" % seconds], bytes)

    def drop(self, ids: Sequence[str]) -> Future[None]:
        """Forget some sessions."""
        return self._run(_DROP, [id.encode() for id in ids], lambda _: None)

    def close(self) -> None:
        """End the connection."""
        self._is_closed = True
        if self._opening is not None:
            self._opening.cancel()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _run(self, script: bytes, words: list[bytes], convert: Any) -> Future[Any]:
        if self._connection is None or not self._connection.is_open:
            self._open_again()
            away: Future[Any] = asyncio.get_running_loop().create_future()
            away.set_exception(Away("there is no connection"))
            return away
        asked = [b"EVALSHA", _SCRIPTS[script], b"0", self._prefix, *words]
        future = self._connection.ask(asked, convert)
        future.add_done_callback(self._was_answered)
        return future

    def _was_answered(self, future: Future[Any]) -> None:
        """Where the server has lost our scripts, as by a restart, it is given them again."""
        error = None if future.cancelled() else future.exception()
        if error is not None and "NOSCRIPT" in str(error) and self._connection is not None:
            self._connection.close()

    def _open_again(self) -> None:
        """Connect again, now or as soon as that can be done."""
        if self._opening is None and not self._is_closed:
            self._opening = asyncio.get_running_loop().create_task(self._keep_opening())

    async def _keep_opening(self) -> None:
        try:
            while self._connection is None or not self._connection.is_open:
                try:
                    await self.open()
                except Away:
                    await asyncio.sleep(REST_SECONDS)
        finally:
            self._opening = None


def _found(rows: list[Any]) -> list[Found]:
    return [
        Found(id.decode(), version, since, head, entries)
        for id, version, since, head, entries in rows
    ]

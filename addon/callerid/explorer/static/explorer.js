// Live pages, keys, copying. Everything can be read and reached without it.
"use strict";

const body = document.body;
const scope = new URLSearchParams();
if (body.dataset.run) scope.set("run", body.dataset.run);
if (body.dataset.session) scope.set("session", body.dataset.session);

// Live: the page says by data-live whether it is swapped, grows at its end, or only tells that
// there is more.

let source = null;
let first = null;
let isAsking = false;
let asksAgain = false;

function listen() {
  if (!body.dataset.live || source || document.hidden) return;
  source = new EventSource("/events?" + scope);
  const light = document.getElementById("live");
  source.onopen = () => { light.hidden = false; light.classList.remove("lost"); };
  source.onerror = () => light.classList.add("lost");
  source.addEventListener("record", (event) => {
    const state = JSON.parse(event.data);
    light.classList.toggle("busy", state.under_way > 0);
    light.querySelector(".words").textContent = state.under_way ? state.under_way + " under way" : "live";
    if (first !== null && first !== event.data) changed(state, JSON.parse(first));
    if (first === null || body.dataset.live !== "tell") first = event.data;
  });
}

// A browser opens six connections to a host: pages that nobody sees give theirs back.
document.addEventListener("visibilitychange", () => {
  if (document.hidden && source) { source.close(); source = null; } else listen();
});
window.addEventListener("pagehide", () => { if (source) source.close(); source = null; });

function changed(now, then) {
  if (body.dataset.live === "swap") { ask(swap); return; }
  if (body.dataset.live === "grow") { ask((page) => grow(page) || tell(now, then)); return; }
  tell(now, then);
}

function tell(now, then) {
  const news = document.getElementById("news");
  const more = now.calls - then.calls;
  if (!news) return;
  news.hidden = false;
  news.textContent = more > 0 ? more + (more > 1 ? " new calls" : " new call") : "There is more";
  news.onclick = () => location.reload();
}

// The page as it is now, once a second at most.
async function ask(use) {
  if (isAsking) { asksAgain = true; return; }
  isAsking = true;
  try {
    const answer = await fetch(location.href, { credentials: "same-origin" });
    if (answer.ok) use(new DOMParser().parseFromString(await answer.text(), "text/html"));
  } finally {
    setTimeout(() => { isAsking = false; if (asksAgain) { asksAgain = false; ask(use); } }, 1000);
  }
}

function swap(page) {
  const [old, fresh] = [document.getElementById("swap"), page.getElementById("swap")];
  const isWithin = old && old.contains(document.activeElement);
  if (old && fresh && !isWithin) old.replaceWith(document.adoptNode(fresh));
}

// What each part of a transcript was when it came: the reader may have unfolded something since.
const parts = (page) => [...page.querySelectorAll(".exchange[id], [data-part]")];
const name = (part) => part.dataset.part || part.id;
const came = new Map(body.dataset.live === "grow" ? parts(document).map((part) => [name(part), part.innerHTML]) : []);

// Puts what is new at the end, and exchanges what changed; whether that was all there is. Who reads
// the end goes along, who reads elsewhere stays where he is.
function grow(page) {
  const root = document.documentElement;
  const isAtEnd = root.scrollHeight - root.clientHeight - root.scrollTop < 80;
  let hasGrown = false;
  for (const fresh of parts(page)) {
    const said = fresh.innerHTML;
    if (came.get(name(fresh)) === said) continue;
    const old = fresh.dataset.part ? document.querySelector(`[data-part="${fresh.dataset.part}"]`) : document.getElementById(fresh.id);
    const last = [...document.querySelectorAll(".exchange[id]")].pop();
    if (old) old.replaceWith(document.adoptNode(fresh));
    else if (last) last.after(document.adoptNode(fresh));
    else continue;
    hasGrown = true;
    came.set(name(fresh), said);
  }
  if (hasGrown && isAtEnd) root.scrollTo({ top: root.scrollHeight });
  return hasGrown;
}

// Keys

const rows = () => [...document.querySelectorAll(".row")].filter((row) => row.offsetParent !== null);

function step(by) {
  const all = rows();
  if (!all.length) return;
  const at = all.findIndex((row) => row.classList.contains("at"));
  const next = all[Math.min(all.length - 1, Math.max(0, at + by))];
  if (at >= 0) all[at].classList.remove("at");
  next.classList.add("at");
  const link = next.querySelector("a.main");
  if (link) link.focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
}

const go = (relation) => { const link = document.querySelector(`a[rel="${relation}"]`); if (link) link.click(); };

function unfold() {
  const button = document.getElementById("unfold");
  const opens = !button || button.getAttribute("aria-pressed") !== "true";
  for (const each of document.querySelectorAll(".transcript details")) each.open = opens;
  if (button) { button.setAttribute("aria-pressed", opens); button.textContent = opens ? "fold all" : "unfold all"; }
}

const KEYS = {
  "/": () => document.querySelector(".find input").focus(),
  j: () => step(1), k: () => step(-1), n: () => go("next"), p: () => go("prev"), u: () => go("up"),
  e: unfold, "?": () => document.getElementById("keys").showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const target = event.target;
  if (target.matches("input, select, textarea")) { if (event.key === "Escape") target.blur(); return; }
  if (document.querySelector("dialog[open]")) return;
  if ((event.key === "ArrowRight" || event.key === "ArrowLeft") && target.matches("a.bar")) {
    const bars = [...target.closest(".lane").querySelectorAll("a.bar")];
    const next = bars[bars.indexOf(target) + (event.key === "ArrowRight" ? 1 : -1)];
    if (next) { target.tabIndex = -1; next.tabIndex = 0; next.focus(); }
    event.preventDefault();
  } else if (Object.hasOwn(KEYS, event.key)) {
    event.preventDefault();
    KEYS[event.key]();
  }
});

document.addEventListener("click", async (event) => {
  if (event.target.id === "unfold") unfold();
  if (!event.target.classList.contains("copy")) return;
  const words = event.target.parentElement.querySelector("code, pre").textContent;
  try { await navigator.clipboard.writeText(words); event.target.textContent = "copied"; } catch { event.target.textContent = "select it"; }
  setTimeout(() => { event.target.textContent = "copy"; }, 1500);
});

listen();

// The live page: parts that changed come over a stream and replace those that stand there.

const QUICK_MS = 1000;
const SLOW_MS = 30000;
const SILENT_MS = 20000; // the server says something every 15 s

const live = document.querySelector("[data-live]");
const beat = document.querySelector("[data-beat]");
const words = document.querySelector("[data-beat-words]");
let source = null;
let wait = QUICK_MS;
let retry = 0;
let silence = 0;

function say(on, text) {
  beat.classList.toggle("on", on);
  if (words.textContent !== text) words.textContent = text;
}

// What somebody reads, has opened or works in stays as it is until he is done.
function busy(part) {
  const chosen = getSelection();
  return part.contains(document.activeElement) || part.querySelector("details[open]") !== null
    || (chosen !== null && !chosen.isCollapsed && part.contains(chosen.anchorNode));
}

function show(news) {
  for (const [name, html] of Object.entries(news)) {
    const part = live.querySelector(`[data-part="${name}"]`);
    if (!part || busy(part)) continue;
    const known = new Set([...part.querySelectorAll("tr[data-id]")].map((row) => row.dataset.id));
    part.innerHTML = html; // drawn by the same templates as the page
    if (known.size === 0) continue;
    for (const row of part.querySelectorAll("tr[data-id]")) {
      row.classList.toggle("fresh", !known.has(row.dataset.id));
    }
  }
}

function listen() {
  clearTimeout(silence);
  silence = setTimeout(again, SILENT_MS);
}

function open() {
  if (source || document.hidden) return;
  source = new EventSource(live.dataset.live);
  source.onopen = listen;
  source.onmessage = (event) => {
    wait = QUICK_MS;
    listen();
    show(JSON.parse(event.data));
    say(true, "Live");
  };
  source.onerror = again;
  listen();
}

function close() {
  clearTimeout(silence);
  clearTimeout(retry);
  source?.close();
  source = null;
}

// Not at once and not all together: twice as long each time, and a little by chance.
function again() {
  close();
  say(false, "Not live: connecting again");
  retry = setTimeout(open, wait * (0.75 + Math.random() / 2));
  wait = Math.min(wait * 2, SLOW_MS);
}

if (live) {
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  open();
}

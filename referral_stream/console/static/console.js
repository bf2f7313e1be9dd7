// What a page does beyond links and forms: keys, copying, charts, and saying whether it is live. Without it all works.
(() => {
  "use strict";

  // ---- the reader's own zone, for times shown as "mine"
  const mine = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (mine) document.cookie = `tz=${mine}; path=/; max-age=31536000; samesite=lax`;

  // ---- keys
  const typing = (element) => element.closest("input, textarea, select, dialog") !== null;
  const keys = document.getElementById("keys");
  const help = () => { if (keys && !keys.open) keys.showModal(); };
  const rows = () => [...document.querySelectorAll("[data-row]")];
  let chosen = -1;

  function choose(step) {
    const all = rows();
    if (!all.length) return;
    if (chosen >= 0 && all[chosen]) all[chosen].removeAttribute("aria-current");
    chosen = Math.min(Math.max(chosen + step, 0), all.length - 1);
    const row = all[chosen];
    row.setAttribute("aria-current", "true");
    const link = row.querySelector("a, input");
    if (link) link.focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    const find = document.getElementById("find");
    if (event.key === "/" && find) { event.preventDefault(); find.focus(); find.select(); }
    else if (event.key === "?") { event.preventDefault(); help(); }
    else if (event.key === "j") choose(1);
    else if (event.key === "k") choose(-1);
  });

  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-help]")) help();
    const copy = event.target.closest("[data-copy]");
    if (copy) {
      const source = document.querySelector(copy.dataset.copy);
      if (source) copied(source.textContent.trim()).then((done) => {
        const before = copy.dataset.label || copy.textContent;
        copy.dataset.label = before;
        copy.textContent = done ? "Copied" : "Select it and copy";
        setTimeout(() => { copy.textContent = before; }, 2000);
      });
    }
  });

  // The clipboard's own interface exists over TLS alone; consoles also run on plain http.
  async function copied(text) {
    try { await navigator.clipboard.writeText(text); return true; } catch { /* the old way */ }
    const field = document.createElement("textarea");
    field.value = text; field.className = "visually-hidden";
    document.body.append(field); field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }

  // ---- charts
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const drawn = new WeakMap();

  function draw(element) {
    const text = element.dataset.chart;
    const known = drawn.get(element);
    if (known && known.text === text) return;
    const { x, asks, decisions } = JSON.parse(text);
    const data = [x, asks, decisions];
    if (known) { known.plot.setData(data); known.text = text; return; }
    const zone = element.dataset.zone;
    const bars = uPlot.paths.bars({ size: [0.7, 40], align: 1 });
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--faint"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 }, font: "12px system-ui, sans-serif" };
    const plot = new uPlot({
      width: element.clientWidth, height: 190, cursor: { y: false },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1e3), zone),
      scales: { y: { range: (_, __, most) => [0, Math.max(4, most * 1.1)] } },
      axes: [{ ...axis, values: [[3600, "{HH}:{mm}", "\n{D} {MMM}", null, "\n{D} {MMM}", null, null, null, 1]] }, { ...axis, size: 44, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 100000] }],
      series: [
        { value: (_, seconds) => seconds === null ? "–" : new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short", timeZone: zone }).format(seconds * 1e3) },
        { label: "asks", paths: bars, fill: colour("--accent"), width: 0, points: { show: false } },
        { label: "decisions", stroke: colour("--soft"), width: 1.5, paths: uPlot.paths.stepped({ align: 1 }), points: { show: false } },
      ],
    }, data, element);
    drawn.set(element, { plot, text });
    new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: 190 })).observe(element);
  }

  const charts = () => document.querySelectorAll("[data-chart]").forEach(draw);
  document.addEventListener("DOMContentLoaded", charts);
  document.addEventListener("htmx:after:swap", charts);
  document.addEventListener("htmx:sse:after:message", charts);

  // ---- live, paused, lost
  const dot = () => document.querySelector("#live .live-dot");
  function say(text, kind) {
    const words = document.querySelector("[data-live]");
    if (!words) return;
    if (words.textContent !== text) words.textContent = text;
    dot().className = `live-dot ${kind}`;
  }
  document.addEventListener("htmx:sse:after:connection", () => say("live", ""));
  document.addEventListener("htmx:sse:error", () => say("connection lost, trying again", "lost"));
  document.addEventListener("visibilitychange", () => say(document.hidden ? "paused while hidden" : "live", document.hidden ? "paused" : ""));
})();

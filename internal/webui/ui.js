// What moves on a page; without it the page shows the same and moves on reload.
"use strict";
(() => {
  const lang = document.documentElement.lang || "en";
  const relative = new Intl.RelativeTimeFormat(lang, { numeric: "auto" });
  const exact = new Intl.DateTimeFormat(lang, { dateStyle: "medium", timeStyle: "long" });
  const units = [["year", 31557600], ["month", 2629800], ["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

  // times says every moment as a distance from now, the moment itself on hover.
  function times(root) {
    for (const el of root.querySelectorAll("time[datetime]")) {
      const at = new Date(el.getAttribute("datetime"));
      if (isNaN(at)) continue;
      const seconds = (at - Date.now()) / 1000;
      const [unit, size] = units.find(([, s]) => Math.abs(seconds) >= s) || units.at(-1);
      const text = relative.format(Math.round(seconds / size), unit);
      if (el.textContent !== text) el.textContent = text;
      el.title = exact.format(at);
    }
  }

  // copying shows the buttons that need the script.
  function copying(root) {
    for (const el of root.querySelectorAll("[data-copy][hidden]")) el.hidden = false;
  }

  async function copy(button) {
    const value = button.dataset.copy;
    try {
      await navigator.clipboard.writeText(value);
    } catch {
      const area = document.createElement("textarea"); // over plain HTTP there is no clipboard API
      area.value = value;
      area.readOnly = true;
      area.className = "offscreen";
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      button.focus();
      if (!done) return;
    }
    const label = button.dataset.label || (button.dataset.label = button.textContent);
    button.textContent = button.dataset.copied || "Copied";
    say(button.textContent);
    setTimeout(() => { button.textContent = label; }, 1500);
  }

  // say tells a screen reader.
  function say(text) {
    const region = document.getElementById("said");
    if (region) region.textContent = text;
  }

  // take brings the parts of this page up to what the wanted URL shows now. Only the
  // newest answer counts.
  let wanted = location.href;
  let asked = 0;
  const was = new WeakMap(); // what the server sent of each part
  async function take() {
    const turn = ++asked;
    const url = wanted;
    let text;
    try {
      const answer = await fetch(url, { headers: { Accept: "text/html" }, credentials: "same-origin" });
      if (!answer.ok && ![403, 404, 410].includes(answer.status)) return false; // those say why there is nothing
      text = await answer.text();
    } catch {
      return false;
    }
    if (turn !== asked) return false;
    const before = saying();
    const fresh = new DOMParser().parseFromString(text, "text/html");
    for (const part of document.querySelectorAll("[data-part][id]")) {
      const next = fresh.getElementById(part.id);
      if (!next || was.get(part) === next.innerHTML) continue;
      const open = new Set([...part.querySelectorAll("details[open][id]")].map((d) => d.id));
      const focus = part.contains(document.activeElement) ? document.activeElement.id : "";
      was.set(part, next.innerHTML);
      part.replaceChildren(...next.childNodes);
      for (const d of part.querySelectorAll("details[id]")) if (open.has(d.id)) d.open = true;
      for (const attribute of next.getAttributeNames()) part.setAttribute(attribute, next.getAttribute(attribute));
      enliven(part);
      if (focus) document.getElementById(focus)?.focus(); // which a hidden button would not take
    }
    if (url !== location.href) history.replaceState(null, "", url);
    if (saying() !== before) say(saying());
    return true;
  }

  // saying is what a screen reader is told when it has changed.
  const saying = () => document.querySelector("[data-say]")?.textContent || "";

  function enliven(root) {
    times(root);
    copying(root);
  }

  document.addEventListener("click", (e) => {
    const button = e.target.closest?.("[data-copy]");
    if (button) copy(button);
  });

  document.addEventListener("submit", (e) => {
    const question = e.target.dataset?.confirm;
    if (question && !window.confirm(question)) e.preventDefault();
  });

  for (const form of document.querySelectorAll("form[data-search]")) {
    let timer;
    const search = () => {
      const query = new URLSearchParams(new FormData(form));
      for (const [key, value] of [...query]) if (value === "") query.delete(key);
      const url = new URL(form.action);
      url.search = query;
      wanted = url.href;
      take();
    };
    form.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(search, 120); });
    form.addEventListener("submit", (e) => { e.preventDefault(); clearTimeout(timer); search(); });
  }

  const live = document.body.dataset.live;
  if (live) {
    let timer, missed = false;
    const listen = () => {
      const source = new EventSource(live);
      source.onmessage = () => {
        if (document.hidden) { missed = true; return; } // nobody looks
        clearTimeout(timer);
        timer = setTimeout(take, 200);
      };
      source.onopen = () => document.body.classList.remove("stale");
      source.onerror = () => {
        document.body.classList.add("stale");
        if (source.readyState === EventSource.CLOSED) setTimeout(listen, 30000); // refused for now
      };
    };
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && missed) { missed = false; take(); }
    });
    listen();
  }

  for (const part of document.querySelectorAll("[data-part][id]")) was.set(part, part.innerHTML);
  enliven(document);
  setInterval(() => times(document), 15000);
})();

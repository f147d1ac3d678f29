// What the pages do when scripts run: keys, copying, printing, choosing rows. Every page works without this file.
"use strict";

(() => {
  const typing = (target) => target.closest("input, textarea, select, [contenteditable]");
  const rows = () => [...document.querySelectorAll("tr[data-open]")];

  function step(by) {
    const all = rows();
    if (all.length === 0) return;
    const at = all.findIndex((row) => row.classList.contains("lit"));
    const next = all[Math.max(0, Math.min(all.length - 1, at + by))];
    all.forEach((row) => row.classList.toggle("lit", row === next));
    next.scrollIntoView({ block: "nearest" });
    next.querySelector("a")?.focus({ preventScroll: true });
  }

  // Single keys can be turned off (WCAG 2.2, 2.1.4): speech input and shaky hands press them by accident.
  const off = () => localStorage.getItem("keys") === "off";

  const keys = {
    "/": () => document.querySelector("#find")?.focus(),
    j: () => step(1),
    k: () => step(-1),
    x: () => document.querySelector("tr.lit input[type=checkbox]")?.click(),
    o: () => document.querySelectorAll(".tree details").forEach((one) => { one.open = true; }),
    c: () => document.querySelectorAll(".tree details").forEach((one) => { one.open = false; }),
    "?": () => { const help = document.querySelector("#keys"); if (help) help.open = !help.open; },
  };

  const closeMenu = (except) => document.querySelectorAll(".more details[open]").forEach((menu) => {
    if (!menu.contains(except)) menu.open = false;
  });

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") closeMenu(null);
    if (event.ctrlKey || event.metaKey || event.altKey) {
      if (event.key === "k" && !event.altKey) { event.preventDefault(); keys["/"](); }
      return;
    }
    if (off() || typing(event.target) || !(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });

  document.addEventListener("click", (event) => {
    closeMenu(event.target);
    const copy = event.target.closest("[data-copy]");
    if (copy) {
      navigator.clipboard?.writeText(copy.dataset.copy);
      copy.querySelector("span").textContent = "copied";
    }
    if (event.target.closest("[data-print]")) window.print();
    const fold = event.target.closest("[data-fold]");
    if (fold) document.querySelectorAll(".tree details").forEach((one) => { one.open = fold.dataset.fold === "open"; });
  });

  document.addEventListener("change", (event) => {
    if (event.target.matches("#keys-on")) localStorage.setItem("keys", event.target.checked ? "on" : "off");
    const form = event.target.closest("form[data-choose]");
    if (!form) return;
    const boxes = [...form.querySelectorAll("tbody input[type=checkbox]")];
    if (event.target.matches("[data-all]")) boxes.forEach((box) => { box.checked = event.target.checked; });
    const chosen = boxes.filter((box) => box.checked);
    const told = form.querySelector("[data-chosen]");
    if (told) told.textContent = chosen.length ? `${chosen.length} chosen` : "Choose what to act on";
  });

  // `/sign-in#token=…` fills the form; what stands behind # never leaves the browser by itself.
  const given = /^#token=(.+)$/.exec(location.hash);
  const field = document.querySelector("#token");
  if (given && field) {
    field.value = decodeURIComponent(given[1]);
    history.replaceState(null, "", location.pathname + location.search);
    field.form.requestSubmit();
  }

  const box = document.querySelector("#keys-on");
  if (box) box.checked = !off();

  document.querySelectorAll("[data-needs-script]").forEach((one) => { one.hidden = false; });
  document.addEventListener("htmx:after:swap", () => {
    document.querySelectorAll("[data-needs-script]").forEach((one) => { one.hidden = false; });
  });
})();

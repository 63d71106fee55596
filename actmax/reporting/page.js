"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const grid = document.getElementById("grid");
  const cards = [...grid.querySelectorAll(".card")];
  const live = document.getElementById("live");
  const view = document.getElementById("view");
  const all = document.getElementById("all");
  const part = (name) => document.getElementById("view-" + name);
  const row = (card) => Number(card.dataset.row);
  const order = () => [...grid.querySelectorAll(".card")];
  let shown = 0;
  let frame = data.steps ? data.steps.length - 1 : 0;

  // Sorting: ascending names and statuses, the highest score first; equals stay in the run's order.
  const compare = {
    order: () => 0,
    target: (a, b) => data.rows[a].name.localeCompare(data.rows[b].name, undefined, { numeric: true }),
    score: (a, b) => (data.rows[b].score ?? -Infinity) - (data.rows[a].score ?? -Infinity) || 0,
    status: (a, b) => data.rows[b].code - data.rows[a].code,
  };
  const sorts = [...document.querySelectorAll("[data-sort]")];
  for (const button of sorts) {
    button.addEventListener("click", () => {
      const by = compare[button.dataset.sort];
      const rows = cards.map(row).sort((a, b) => by(a, b) || a - b);
      for (const n of rows) grid.append(cards[n].parentElement);
      for (const other of sorts) other.setAttribute("aria-pressed", String(other === button));
      live.textContent = "Sorted by " + button.textContent;
      rove(order()[0], false);
    });
  }

  // One card is in the tab order; arrows move among them.
  function rove(card, focus) {
    for (const other of cards) other.tabIndex = other === card ? 0 : -1;
    if (focus) card.focus();
  }
  grid.addEventListener("keydown", (event) => {
    const list = order();
    const at = list.indexOf(document.activeElement);
    if (at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const top = list[0].offsetTop;
    const wide = Math.max(1, list.filter((card) => card.offsetTop === top).length);
    const rtl = getComputedStyle(grid).direction === "rtl" ? -1 : 1;
    const step = { ArrowRight: rtl, ArrowLeft: -rtl, ArrowDown: wide, ArrowUp: -wide }[event.key];
    let to = step === undefined ? undefined : at + step;
    if (event.key === "Home") to = 0;
    if (event.key === "End") to = list.length - 1;
    if (to === undefined) return;
    event.preventDefault();
    if (to >= 0 && to < list.length) rove(list[to], true);
  });
  for (const card of cards) {
    card.addEventListener("focus", () => { rove(card, false); light(row(card)); });
    card.addEventListener("blur", () => light(null));
    card.addEventListener("mouseenter", () => light(row(card)));
    card.addEventListener("mouseleave", () => light(null));
    card.addEventListener("click", () => open(row(card)));
  }

  // The curve of one picture among all.
  let kept = null;
  function light(n) {
    if (!all) return;
    const own = n === null ? kept : n;
    all.classList.toggle("lit", own !== null);
    for (const curve of all.querySelectorAll(".curve"))
      curve.classList.toggle("on", Number(curve.dataset.row) === own);
  }
  const keys = [...document.querySelectorAll("[data-light]")];
  for (const key of keys) {
    key.addEventListener("click", () => {
      const n = Number(key.dataset.light);
      kept = kept === n ? null : n;
      for (const other of keys)
        other.setAttribute("aria-pressed", String(Number(other.dataset.light) === kept));
      light(null);
    });
  }

  // The images over the steps: one slider for all of them, one in the large view, always alike.
  const sliders = [...document.querySelectorAll("input[type=range]")];
  const source = (n) =>
    data.steps && frame < data.steps.length - 1 ? data.frames[n][frame] : data.rows[n].source;
  function turn(to) {
    frame = to;
    const text = "step " + data.steps[frame] + " of " + data.last;
    for (const slider of sliders) {
      slider.value = frame;
      slider.setAttribute("aria-valuetext", text);
      slider.nextElementSibling.textContent = text;
    }
    for (const card of cards) {
      const image = card.querySelector(".shot");
      if (image) image.src = source(row(card));
    }
    const image = part("image");
    if (view.open && image) image.src = source(shown);
  }
  for (const slider of sliders) slider.addEventListener("input", () => turn(Number(slider.value)));
  if (data.steps) turn(frame);

  // The large view.
  function open(n) {
    shown = n;
    const now = data.rows[n];
    part("name").textContent = now.name;
    const image = part("image");
    if (image) {
      image.hidden = !now.source;
      if (now.source) { image.src = source(n); image.alt = now.alt; }
    }
    const facts = part("facts");
    facts.replaceChildren();
    for (const [term, text] of now.facts) {
      const box = document.createElement("div");
      const dt = document.createElement("dt");
      const dd = document.createElement("dd");
      dt.textContent = term;
      dd.textContent = text;
      dd.dir = "auto";
      box.append(dt, dd);
      facts.append(box);
    }
    part("message").textContent = now.message;
    const from = document.getElementById("curve-" + n);
    part("curve").replaceChildren(...(from ? [from.content.cloneNode(true)] : []));
    const near = document.getElementById("near-" + n);
    part("near").replaceChildren(...(near ? [near.content.cloneNode(true)] : []));
    if (!view.open) view.showModal();
  }
  function turnPage(step) {
    const list = order().map(row);
    open(list[(list.indexOf(shown) + step + list.length) % list.length]);
  }
  part("back").addEventListener("click", () => turnPage(-1));
  part("next").addEventListener("click", () => turnPage(1));
  part("close").addEventListener("click", () => view.close());
  view.addEventListener("click", (event) => { if (event.target === view) view.close(); });
  view.addEventListener("keydown", (event) => {
    if (event.target.matches("input")) return;
    if (event.key === "ArrowRight") turnPage(1);
    else if (event.key === "ArrowLeft") turnPage(-1);
    else return;
    event.preventDefault();
  });
  view.addEventListener("close", () => rove(cards[shown], true));
})();

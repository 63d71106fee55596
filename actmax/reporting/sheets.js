"use strict";
(() => {
  const find = document.getElementById("find");
  const live = document.getElementById("live");
  const grid = document.getElementById("grid");
  const list = grid ? [...grid.children] : [...document.querySelectorAll("#sections tbody tr")];
  const shown = () => (grid ? [...grid.children] : list).filter((item) => !item.hidden);
  const nameOf = (item) => item.querySelector("bdi").textContent;

  find.addEventListener("input", () => {
    const wanted = find.value.trim().toLowerCase();
    for (const item of list) item.hidden = !nameOf(item).toLowerCase().includes(wanted);
    live.textContent = shown().length + " shown";
    if (grid && shown().length) rove(shown()[0]);
  });
  if (!grid) return;

  const card = (item) => item.querySelector(".card");
  const score = (item) => (item.dataset.score === "" ? -Infinity : Number(item.dataset.score));
  const compare = {
    order: () => 0,
    score: (a, b) => score(b) - score(a) || 0,
    status: (a, b) => Number(a.dataset.good) - Number(b.dataset.good),
  };
  const sorts = [...document.querySelectorAll("[data-sort]")];
  for (const button of sorts) {
    button.addEventListener("click", () => {
      const by = compare[button.dataset.sort];
      const sorted = [...list].sort((a, b) => by(a, b) || a.dataset.place - b.dataset.place);
      grid.append(...sorted);
      for (const other of sorts) other.setAttribute("aria-pressed", String(other === button));
      live.textContent = "Sorted by " + button.textContent;
      if (shown().length) rove(shown()[0]);
    });
  }

  // One card is in the tab order; arrows move among them.
  function rove(item, focus) {
    for (const other of list) card(other).tabIndex = other === item ? 0 : -1;
    if (focus) card(item).focus();
  }
  grid.addEventListener("keydown", (event) => {
    const now = shown();
    const at = now.findIndex((item) => card(item) === document.activeElement);
    if (at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const top = now[0].offsetTop;
    const wide = Math.max(1, now.filter((item) => item.offsetTop === top).length);
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: wide, ArrowUp: -wide }[event.key];
    let to = step === undefined ? undefined : at + step;
    if (event.key === "Home") to = 0;
    if (event.key === "End") to = now.length - 1;
    if (to === undefined) return;
    event.preventDefault();
    if (to >= 0 && to < now.length) rove(now[to], true);
  });

  const view = document.getElementById("view");
  const body = document.getElementById("view-body");
  for (const item of list) {
    card(item).addEventListener("click", () => {
      const image = item.querySelector(".shot");
      body.replaceChildren(
        ...(image ? [image.cloneNode()] : []),
        item.querySelector("template").content.cloneNode(true),
      );
      document.getElementById("view-name").textContent = nameOf(item);
      rove(item);
      view.showModal();
    });
  }
  document.getElementById("view-close").addEventListener("click", () => view.close());
  view.addEventListener("click", (event) => { if (event.target === view) view.close(); });
})();

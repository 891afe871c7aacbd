"use strict";
(() => {
  const search = document.getElementById("search");
  const found = document.getElementById("found");
  const rows = [...document.querySelectorAll("[data-row]")].map((row) => (
    { row, text: ((row.dataset.text || "") + " " + row.textContent).toLowerCase() }
  ));
  const groups = [...document.querySelectorAll("[data-group]")];

  // A row stays if it holds every word.
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const one of rows) {
      one.row.hidden = !words.every((word) => one.text.includes(word));
      if (!one.row.hidden) shown++;
    }
    for (const group of groups) {
      group.hidden = !group.querySelector("[data-row]:not([hidden])");
      if (words.length > 0 && !group.hidden) group.open = true;
    }
    found.textContent = words.length === 0 ? "" : shown === 1 ? "1 row" : shown + " rows";
  };

  search.addEventListener("input", filter);
  document.getElementById("search-form").addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== search) {
      event.preventDefault();
      search.focus();
    } else if (event.key === "Escape" && document.activeElement === search) {
      search.value = "";
      filter();
    }
  });
  // What is folded would be missing on paper.
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
})();

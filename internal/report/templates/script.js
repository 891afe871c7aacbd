"use strict";
(() => {
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const search = document.getElementById("search");
  const found = document.getElementById("found");
  const form = document.getElementById("filters");
  const choices = all("[data-filter]");
  const rows = all("[data-row]").map((row) => (
    { row, text: ((row.dataset.text || "") + " " + row.textContent).toLowerCase() }
  ));
  const groups = all("[data-group]");
  const objects = rows.filter((one) => "verdict" in one.row.dataset);

  // A row stays if it holds every word, and what is chosen, if it has something of the kind.
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = choices.filter((one) => one.value !== "");
    const fits = (data, one) => !(one.dataset.filter in data) || data[one.dataset.filter].split("|").includes(one.value);
    for (const { row, text } of rows) {
      row.hidden = !words.every((word) => text.includes(word)) || !chosen.every((one) => fits(row.dataset, one));
    }
    const active = words.length + chosen.length > 0;
    for (const group of groups) {
      group.hidden = active && !group.querySelector("[data-row]:not([hidden])");
      group.open = active;
    }
    const shown = objects.filter((one) => !one.row.hidden).length;
    found.textContent = active ? `${shown} of ${objects.length} results` : "";
  };

  const sort = (head) => {
    const table = head.closest("table");
    const first = head.classList.contains("n") ? "descending" : "ascending";
    const second = first === "ascending" ? "descending" : "ascending";
    const order = head.getAttribute("aria-sort") === first ? second : first;
    all("th", table.tHead).forEach((one) => one.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", order);
    const key = (row) => row.cells[head.cellIndex].dataset.key || row.cells[head.cellIndex].textContent.trim();
    const compare = (a, b) => key(a).localeCompare(key(b), "en", { numeric: true }) * (order === "ascending" ? 1 : -1);
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
  };

  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch { // not allowed, or an old browser
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  };

  const button = (text, act) => {
    const one = document.createElement("button");
    one.type = "button";
    one.append(...text);
    one.addEventListener("click", (event) => { event.preventDefault(); act(one); });
    return one;
  };

  for (const head of all("[data-sort]")) {
    head.append(button(head.childNodes, () => sort(head)));
  }
  // Digests are shown by the part that people compare; the button copies them whole.
  for (const image of all("[data-copy]")) {
    const path = image.lastElementChild;
    path.textContent = path.textContent.replace(/(sha256:[0-9a-f]{7})[0-9a-f]{57}/, "$1…");
    const one = button(["Copy"], async () => {
      await copy(image.dataset.copy);
      one.textContent = "Copied";
      one.ariaLabel = "Copied " + image.dataset.copy;
    });
    one.className = "copy";
    one.title = one.ariaLabel = "Copy " + image.dataset.copy;
    image.after(one);
  }
  groups.forEach((one) => { one.open = false; });
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", filter);
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
  addEventListener("beforeprint", () => all("details").forEach((one) => { one.open = true; }));
})();

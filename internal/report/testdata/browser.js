"use strict";
// Checks the report in each frame, and writes what is wrong into the page, as JSON.
const problems = [];

// texts whose contrast is below 4.5:1, the bound of WCAG's level AA.
const pale = (d) => {
  const style = (e) => d.defaultView.getComputedStyle(e);
  const rgb = (text) => { const m = text.match(/[\d.]+/g).map(Number); return {c: m.slice(0, 3), a: m.length > 3 ? m[3] : 1}; };
  const light = ({c}) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; }); return .2126 * r + .7152 * g + .0722 * b; };
  const back = (e) => { for (; e; e = e.parentElement) { const b = rgb(style(e).backgroundColor); if (b.a === 1) return b; } return {c: [255, 255, 255]}; };
  const bad = new Set();
  const walk = d.createTreeWalker(d.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || ["SCRIPT", "STYLE", "TITLE"].includes(e.tagName.toUpperCase())) continue;
    const [x, y] = [light(rgb(style(e).color)), light(back(e))];
    const ratio = (Math.max(x, y) + .05) / (Math.min(x, y) + .05);
    if (ratio < 4.5) bad.add(e.className + " " + walk.currentNode.data.trim().slice(0, 30) + ": " + ratio.toFixed(2));
  }
  return [...bad];
};

const checks = {
  "a width that fits": (d) => d.documentElement.scrollWidth <= d.defaultView.innerWidth,
  "contrast": (d) => pale(d).length === 0 || pale(d).join("; "),
  "a heading of the page": (d) => d.querySelectorAll("h1").length === 1,
  "landmarks": (d) => ["header", "nav", "main", "footer"].every((e) => d.querySelectorAll(e).length === 1),
  "headers of all columns": (d) => [...d.querySelectorAll("thead th")].every((e) => e.scope === "col" && e.textContent),
  "a header of every row": (d) => [...d.querySelectorAll("tbody tr")].every((e) => e.querySelector("th[scope=row]")),
  "names of sections": (d) => [...d.querySelectorAll("section, [role=region]")].every((e) => e.getAttribute("aria-label") || d.getElementById(e.getAttribute("aria-labelledby"))),
  "words for every chart": (d) => [...d.querySelectorAll(".stack, .track")].every((e) => e.ariaHidden === "true" || (e.getAttribute("role") === "img" && e.ariaLabel)),
  "a label of the search": (d) => d.querySelector("label[for=search]") !== null,
  "ids that are there once": (d) => new Set([...d.querySelectorAll("[id]")].map((e) => e.id)).size === d.querySelectorAll("[id]").length,
  "links that lead somewhere": (d) => [...d.querySelectorAll("a")].every((e) => /^https:\/\/(nvd.nist.gov|github.com)\//.test(e.href) || d.querySelector(e.getAttribute("href"))),
  "style but the page's own": (d) => !d.querySelector("[style]") && d.defaultView.getComputedStyle(d.body).margin === "0px",
  "folded passes": (d) => !d.querySelector("details[data-group][open]"),
  "no markup from what is shown": (d) => d.querySelectorAll("main b").length === d.querySelectorAll(".legend b, .bars b").length,
  "no request to anywhere": (d) => d.defaultView.performance.getEntriesByType("resource").length === 0,
};

const visible = (d) => [...d.querySelectorAll("[data-row]")].filter((e) => e.checkVisibility());
const enter = (d, field, text) => { field.value = text; field.dispatchEvent(new d.defaultView.Event("input", {bubbles: true})); };

// search looks for words, for nonsense, and for nothing again.
const search = (d) => {
  const field = d.getElementById("search");
  const rows = () => visible(d).length;
  const key = (name) => d.dispatchEvent(new d.defaultView.KeyboardEvent("keydown", {key: name}));
  const type = (text) => enter(d, field, text);
  const all = rows();
  key("/");
  const focused = d.activeElement === field;
  type("away DEV");
  const [some, found] = [rows(), d.getElementById("found").textContent];
  type("away DEV~");
  const none = rows();
  key("Escape");
  return focused && some === 1 && found === "1 of 6 results" && none === 0 && rows() === all || [focused, all, some, found, none, rows()].join();
};

// filters choose a verdict, a policy and a namespace; passes that fit are shown.
const filters = (d) => {
  const shown = (kind, value) => {
    const field = d.querySelector(`[data-filter=${kind}]`);
    enter(d, field, value);
    const names = visible(d).filter((e) => "verdict" in e.dataset).map((e) => e.querySelector("th").firstChild.data);
    enter(d, field, "");
    return names.join();
  };
  const got = [shown("verdict", "Denied (its pods)"), shown("policy", "audit"), shown("namespace", "shop")];
  const want = ["Deployment/web", "Pod/away,Pod/try", "Pod/web,Deployment/web,ReplicaSet/api (2 pods)"];
  return got.join() === want.join() || got.join(" | ");
};

// sorting sorts the images by their names and by their vulnerabilities, up and down.
const sorting = (d) => {
  const table = d.querySelector("#images table");
  const by = (column) => {
    table.tHead.rows[0].cells[column].querySelector("button").click();
    return table.tHead.rows[0].cells[column].ariaSort + " " + table.tBodies[0].rows[0].cells[column].textContent.slice(0, 5);
  };
  const got = [by(0), by(0), by(3), by(3)].join();
  return got === "ascending h.io/,descending Upper,descending 111,ascending –" || got;
};

// copying copies a whole reference, of which the page shows the beginning of the digest.
const copying = (d) => {
  let copied = "";
  Object.defineProperty(d.defaultView.navigator, "clipboard", {value: {writeText: async (text) => { copied = text; }}});
  const image = [...d.querySelectorAll("#images [data-copy]")].find((e) => e.dataset.copy.includes("@"));
  image.nextElementSibling.click();
  return copied === image.dataset.copy && copied.length > 70 && image.textContent.endsWith("@sha256:0123456…") || [copied, image.textContent].join();
};

// printed reports whether all that is folded is open, on white paper, without navigation.
const printed = (d) => {
  d.defaultView.dispatchEvent(new d.defaultView.Event("beforeprint"));
  const style = (e) => d.defaultView.getComputedStyle(e);
  return style(d.querySelector("nav")).display === "none" && style(d.body).backgroundColor === "rgb(255, 255, 255)" && !d.querySelector("details:not([open])");
};

addEventListener("load", () => {
  for (const frame of document.querySelectorAll("iframe")) {
    const all = {...checks};
    if (frame.name === "sample, 1280 wide") Object.assign(all, {"a search": search, "filters": filters, "sorting": sorting, "copying": copying});
    if (frame.name.startsWith("printed")) {
      delete all["folded passes"];
      delete all["contrast"]; // browsers print in colours of their own
      all["printing"] = printed;
    }
    for (const [what, check] of Object.entries(all)) {
      const good = check(frame.contentDocument);
      if (good !== true) problems.push(`${frame.name}: no ${what}: ${good}`);
    }
  }
  document.getElementById("result").textContent = JSON.stringify(problems);
});
